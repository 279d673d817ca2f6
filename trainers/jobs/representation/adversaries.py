"""Make the adversaries of a trial, batch by batch, so that a killed run goes on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from attacks import AttackResult
from attacks.common.randomness import derive_seed
from attacks.feature.guided_attack import GuidedAttack
from trainers.evaluate.evaluation import predict, top_classes
from trainers.evaluate.measure_resumable import item_file, join_warnings, log_warnings
from trainers.evaluate.scores import join_columns
from trainers.jobs.representation.setup import RepresentationSetup, Trial
from trainers.run.folder.checkpoint import is_finished, load_item, save_item
from trainers.run.folder.metrics import Stopwatch
from trainers.run.show.progress import Progress


@dataclass(frozen=True)
class Adversaries:
    """What an attack made of all pairs.

    Attributes:
        x: the adversaries, (N, C, ...).
        columns: "answer", what the classifier calls them, and the largest change "linf", (N,).
        seconds: that it took.
        warnings: of the attack.
    """

    x: Tensor
    columns: dict[str, Tensor]
    seconds: float
    warnings: list[str]


def make_adversaries(
    setup: RepresentationSetup, model: nn.Module, trial: Trial, *, bar: Progress | None = None
) -> Adversaries:
    """Attack all pairs, or find what was made of them before.

    Args:
        setup: the pairs.
        model: the classifier, with the trial's weights.
        trial: the attack.
        bar: shows each batch; None where all are made.
    """
    folder, parts, warnings = setup.context.folder, [], []
    stopwatch = Stopwatch(folder.checkpoints / trial.items / "seconds.json")
    for number, rows in enumerate(batches(setup)):
        file = folder.checkpoints / trial.items / item_file(number)
        if not is_finished(file):
            folder.check_held()
            result = attack_pairs(setup, model, trial, rows, bar.within if bar else None)
            columns = {"answer": top_classes(predict(model, result.x_adv)), "linf": result.linf}
            log_warnings(trial.name, result)
            stopwatch.keep()  # before the item: one that is done has its time in the file
            save_item(file, {"x": result.x_adv, **columns}, result.info.get("warnings", []))
        tensors, found = load_item(file)
        parts.append(tensors)
        warnings.append(found)
        if bar:
            bar.step()
    whole = join_columns(parts)
    said = join_warnings(warnings, len(setup.pairs))
    return Adversaries(whole.pop("x"), whole, stopwatch.seconds, said)


def batches(setup: RepresentationSetup) -> tuple[Tensor, ...]:
    """Split the numbers of all pairs into batches, int64 (B,) each."""
    return torch.split(torch.arange(len(setup.pairs)), setup.context.batch_size)


def attack_pairs(
    setup: RepresentationSetup,
    model: nn.Module,
    trial: Trial,
    rows: Tensor,
    progress: Callable[[int, int], None] | None,
) -> AttackResult:
    """Lead the sources of some pairs to their guides; without guides, to the guides' classes."""
    pairs, device = setup.pairs, setup.context.device
    x, y = (part.to(device) for part in pairs.ds.stack(pairs.sources[rows]))
    guide, label = (part.to(device) for part in pairs.ds.stack(pairs.guides[rows]))
    seed = derive_seed(setup.context.seed, "representation")
    ids = [pairs.ids[row] for row in rows.tolist()]
    keys: Any = {"seed": seed, "sample_ids": ids, "progress": progress}
    if isinstance(trial.attack, GuidedAttack):
        return trial.attack(model, x, y, guide=guide, **keys)
    return trial.attack(model, x, y, target=label, **keys)
