"""Activations to fit a detector to, and scores to measure it by, batch by batch in a run folder."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from attacks import Attack
from attacks.common.activations import activations_of
from attacks.common.frozen import frozen
from attacks.common.randomness import derive_seed
from augment import Dataset, iterate
from trainers.detector.evasion import Evasion
from trainers.detector.rejecting_classifier import RejectingClassifier
from trainers.detector.safety_net import SafetyNet
from trainers.evaluate.evaluation import AttackedBatch, top_classes
from trainers.evaluate.measure_resumable import (
    AttackTask,
    item_file,
    load_batches,
    measure_resumable,
)
from trainers.evaluate.scores import Columns
from trainers.run.cli.specs.attacks import slug
from trainers.run.folder.checkpoint import save_item
from trainers.run.job_context import JobContext


def collect_activations(
    context: JobContext, name: str, attack: Attack, ds: Dataset, layer: str
) -> Columns:
    """Attack samples, and keep the activations of a layer.

    Returns:
        "clean" and "attacked" (N, D), and "fooled" (N,) bool: right before and wrong then.
    """

    def describe(batch: AttackedBatch) -> Columns:
        before, clean = look(context.model, layer, batch.result.x)
        after, attacked = look(context.model, layer, batch.result.x_adv)
        return {"clean": clean, "attacked": attacked, "fooled": is_fooled(before, after, batch.y)}

    items = context.folder.checkpoints / f"fit-{slug(name)}"
    task = AttackTask(f"{name} to fit to", attack, ds, items, derive_seed(context.seed, "fit"))
    return _describe_batches(context, task, describe)


def score_attack(
    context: JobContext, model: RejectingClassifier, name: str, attack: Attack, ds: Dataset
) -> Columns:
    """Attack samples, and keep the scores that a detector gives them.

    An `Evasion` is made on the classifier that refuses, another attack on the bare one.

    Returns:
        Of all samples (N,): "right", bool, before the attack, "fooled", bool, and the scores
        "clean" and "attacked".
    """

    def describe(batch: AttackedBatch) -> Columns:
        before, clean = look(model.model, model.detector.layer, batch.result.x)
        after, attacked = look(model.model, model.detector.layer, batch.result.x_adv)
        with torch.no_grad():
            scores = {"clean": model.detector(clean), "attacked": model.detector(attacked)}
        fooled = is_fooled(before, after, batch.y)
        return {"right": before == batch.y, "fooled": fooled, **scores}

    attacked = replace(context, model=model) if isinstance(attack, Evasion) else context
    items = context.folder.checkpoints / f"test-{slug(name)}"
    task = AttackTask(name, attack, ds, items, derive_seed(context.seed, "measure"))
    return _describe_batches(attacked, task, describe)


def score_clean(context: JobContext, detector: SafetyNet, ds: Dataset) -> Tensor:
    """Return the scores of clean samples, (N,)."""
    scores = []
    for x, _, _ in iterate(ds, batch_size=context.batch_size, device=context.device):
        with torch.no_grad():
            scores.append(detector(look(context.model, detector.layer, x)[1]).cpu())
    return torch.cat(scores)


def look(model: nn.Module, layer: str, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the top classes (B,) of x (B, ...), and a layer's activations (B, D)."""
    with frozen(model), torch.no_grad():
        logits, activations = activations_of(model, layer, x)
    return top_classes(logits), activations.flatten(1)  # (B, D)


def is_fooled(before: Tensor, after: Tensor, y: Tensor) -> Tensor:
    """Tell which answers (B,) were y before an attack, and are another class after it."""
    return (before == y) & (after != y) & (after >= 0)


def _describe_batches(
    context: JobContext, task: AttackTask, describe: Callable[[AttackedBatch], Columns]
) -> Columns:
    """Attack all samples, and return what is kept of each batch beside its measurement."""
    kept = task.items.with_name(f"kept-{task.items.name}")

    def watch(number: int, batch: AttackedBatch) -> list[Path]:
        file = kept / item_file(number)
        save_item(file, {name: column.cpu() for name, column in describe(batch).items()})
        return [file]

    measure_resumable(context, task, watch=watch)
    return load_batches(kept, context, task.ds)[0]
