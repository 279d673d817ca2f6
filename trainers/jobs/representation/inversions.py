"""Rebuild sources, guides and adversaries from what each layer represents of them."""

from collections.abc import Mapping

import torch
from torch import Tensor

from attacks.common.randomness import derive_seed
from explain.inversion.invert import Inversion
from trainers.jobs.representation.setup import RepresentationSetup
from trainers.run.cli.specs.attacks import slug
from trainers.run.folder.checkpoint import is_finished, load_item, save_item
from trainers.run.show.progress import Progress

KINDS = ("source", "guide", "adversary")


def invert_layers(
    setup: RepresentationSetup, adversaries: Tensor, *, steps: int
) -> dict[str, Mapping[str, Tensor]]:
    """Rebuild the samples of some pairs in each layer, or find them as they were rebuilt before.

    All three of a pair start from the same noise: they differ by their representations alone.

    Args:
        setup: the pairs, of which the first are taken.
        adversaries: of so many pairs, (n, C, ...).
        steps: of each search.

    Returns:
        For each layer "images" (n, 3, C, ...) and their "errors" (n, 3) as of `Inversion`, of the
        source, the guide and the adversary.
    """
    context, pairs, n = setup.context, setup.pairs, len(adversaries)
    source, guide = (pairs.ds.stack(rows[:n])[0] for rows in (pairs.sources, pairs.guides))
    x = torch.stack([source, guide, adversaries], 1)  # (n, 3, C, ...)
    ids = [each for each in pairs.ids[:n] for _ in KINDS]
    found: dict[str, Mapping[str, Tensor]] = {}
    with Progress(context.folder, "invert", total=len(setup.layers)) as bar:
        for layer in setup.layers:
            file = (
                context.folder.checkpoints / "inversion" / f"{slug(f'layer {layer}')}.safetensors"
            )
            if not is_finished(file):
                context.folder.check_held()
                search = Inversion(layer=layer, steps=steps, chunk=context.batch_size)
                seed = derive_seed(context.seed, "representation")
                flat = x.flatten(0, 1).to(context.device)
                rebuilt = search(
                    context.model, flat, seed=seed, sample_ids=ids, progress=bar.within
                )
                parts = {"images": rebuilt.images, "errors": rebuilt.error}
                save_item(file, {name: t.view(n, 3, *t.shape[1:]) for name, t in parts.items()})
            found[layer] = load_item(file)[0]
            bar.step()
    return found
