"""The maps of each method and what is measured of them, batch by batch."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from attacks.attack import Progress
from attacks.common.progress import PERCENT, PartProgress
from attacks.common.randomness import derive_seed
from augment import Dataset
from explain import ExplanationMethod
from explain.perturbation.difference_map import DifferenceMap, learn_differences, mean_and_spread
from explain.scores.agreement import rank_correlation
from explain.scores.box_iou import boxes_of_masks, localisation_iou
from explain.scores.deletion import area_under, deletion_curve, insertion_curve
from explain.scores.pointing_game import pointing_game
from explain.scores.randomisation import reinitialised
from explain.scores.stability import stability
from trainers.evaluate.evaluation import predict
from trainers.evaluate.per_class import class_name
from trainers.run.cli.jobs.explain import ExplainFlags
from trainers.run.cli.specs.attacks import slug
from trainers.run.folder.checkpoint import is_finished, load_item, save_item
from trainers.run.job_context import JobContext

CHUNK = 64  # samples in a pass of the scores, and of those that batch norms are measured on
CURVES = {"deletion": deletion_curve, "insertion": insertion_curve}
PLACED = ("pointing", "box_iou")  # scores where objects are known
CHECKED = ("stability", "random_weights")  # rank correlations with other maps of the method
SCORES = (*CURVES, *PLACED, *CHECKED)


@dataclass(frozen=True)
class Explained:
    """The samples of a run and the classes that are explained.

    Attributes:
        context: the job's classifier.
        flags: the options.
        ds: the samples, in their order.
        x: the samples, (N, C, ...).
        y: the classes, int64 (N,).
        probability: that the classifier gives these, (N,).
        masks: where the objects are, bool (N, H, W), or None.
    """

    context: JobContext
    flags: ExplainFlags
    ds: Dataset
    x: Tensor
    y: Tensor
    probability: Tensor
    masks: Tensor | None

    @cached_property
    def random_model(self) -> nn.Module:
        """The classifier with random weights, the same for all methods."""
        seed = derive_seed(self.context.seed, "random weights")
        return reinitialised(self.context.model, self.x[:CHUNK], seed=seed)

    @property
    def class_names(self) -> list[str]:
        """The name of each sample's class, or its number."""
        return [class_name(self.ds.classes, number) for number in self.y.tolist()]


def choose_classes(
    context: JobContext,
    flags: ExplainFlags,
    ds: Dataset,
    *,
    asked: int | None,
    masks: Tensor | None,
) -> Explained:
    """Return the samples with the classes to explain: the one asked for, or the predicted ones."""
    x, _ = ds.stack(range(len(ds)))
    x = x.to(context.device)
    parts = torch.split(x, context.batch_size)
    shares = torch.cat([predict(context.model, part).softmax(1) for part in parts])  # (N, K)
    y = shares.argmax(1) if asked is None else torch.full_like(shares.argmax(1), asked)
    probability = shares.gather(1, y[:, None])[:, 0].cpu()
    return Explained(context, flags, ds, x, y, probability, masks)


def explain_resumable(
    explained: Explained, name: str, method: ExplanationMethod, *, progress: Progress
) -> dict[str, Tensor]:
    """Return what `explain_batch` finds of all samples; made, or found as made."""
    context, size = explained.context, explained.context.batch_size
    starts = range(0, len(explained.x), size)
    found, told = [], PartProgress(progress, [PERCENT] * len(starts))
    for number, start in enumerate(starts):
        file = context.folder.checkpoints / f"explain-{slug(name)}" / f"{number:05}.safetensors"
        if not is_finished(file):
            context.folder.check_held()
            rows = slice(start, start + size)
            save_item(file, explain_batch(explained, method, rows, progress=told.within))
        told.end_part()
        found.append(load_item(file)[0])
    return {key: torch.cat([part[key] for part in found]) for key in found[0]}


def explain_batch(
    explained: Explained, method: ExplanationMethod, rows: slice, *, progress: Progress
) -> dict[str, Tensor]:
    """Make the maps of some samples, and measure them.

    Returns:
        "maps" and, of several generators, their "spread", (B, ...); the scores that can be
        computed and the "seconds" of a sample, (B,).
    """
    model, x, y = explained.context.model, explained.x[rows], explained.y[rows]
    ids = [derive_seed(each) for each in explained.ds.ids[rows]]
    seed, began = derive_seed(explained.context.seed, "explain"), time.perf_counter()
    checks = explained.flags.checks
    told = PartProgress(progress, [PERCENT] * (4 if checks else 2))  # maps, scores, both checks
    found = make_maps(method, model, x, y, seed=seed, sample_ids=ids, progress=told.within)
    told.end_part()
    maps, seconds = found["maps"], (time.perf_counter() - began) / len(x)
    steps = explained.flags.score_steps
    for score, curve in CURVES.items():
        found[score] = area_under(curve(model, x, y, maps, steps=steps, chunk=CHUNK))
    if explained.masks is not None:
        masks = explained.masks[rows].to(x.device)
        found["pointing"] = pointing_game(maps, masks)
        found["box_iou"] = localisation_iou(maps, boxes_of_masks(masks.cpu()))
    told.end_part()
    if checks:
        keys: Any = {"sample_ids": ids, "progress": told.within}
        again = method(model, x, y, seed=derive_seed(seed, "again"), **keys)
        told.end_part()
        blind = method(explained.random_model, x, y, seed=seed, **keys)
        found["stability"] = stability([maps, again])
        found["random_weights"] = rank_correlation(maps, blind)
    return found | {"seconds": torch.full((len(x),), seconds)}


def make_maps(
    method: ExplanationMethod, model: nn.Module, x: Tensor, y: Tensor, **keys: Any
) -> dict[str, Tensor]:
    """Return the "maps" of a method, (B, ...), and their "spread" where it learns several each."""
    if not isinstance(method, DifferenceMap) or method.instances == 1:
        return {"maps": method(model, x, y, **keys)}
    found = learn_differences(
        model, x, y, attack=method.attack, instances=method.instances, chunk=method.chunk, **keys
    )
    maps, spread = mean_and_spread(found.mean(2))  # (B, ...)
    return {"maps": maps, "spread": spread}


def scores_of(columns: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the columns that are a number a sample: the scores, and the seconds."""
    return {key: columns[key] for key in (*SCORES, "seconds") if key in columns}
