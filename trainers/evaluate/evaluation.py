"""What a classifier gets right, clean and under attack."""

import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from attacks.attack import Attack
from attacks.common.frozen import frozen
from attacks.common.goal import logits_of
from attacks.common.randomness import derive_seed
from augment import Dataset, iterate
from trainers.evaluate.budgets import budget_of
from trainers.evaluate.robustness import worst_case
from trainers.evaluate.scores import (
    AttackedBatch,
    AttackMeasurement,
    Columns,
    doubts_of,
    score_batch,
    summarise,
)

__all__ = [
    "AttackMeasurement",
    "AttackedBatch",
    "Columns",
    "attack_batches",
    "clean_accuracy",
    "clean_doubts",
    "evaluate_attack",
    "predict",
    "score_batch",
    "summarise",
    "top_classes",
    "worst_case",
]


def predict(model: nn.Module, x: Tensor) -> Tensor:
    """Logits (B, K) of x (B, C, ...) in eval mode; the model is left as it was."""
    with frozen(model), torch.no_grad():
        return logits_of(model, x)


def clean_accuracy(
    model: nn.Module,
    ds: Dataset,
    *,
    batch_size: int = 256,
    device: str | torch.device = "cpu",
) -> float:
    """Share of samples whose top class is the label; a sample with a NaN logit is wrong.

    Raises:
        ValueError: when there are no samples.
    """
    _check_samples(ds)
    right = torch.zeros((), dtype=torch.int64, device=device)
    with frozen(model), torch.no_grad():
        for x, y, _ in iterate(ds, batch_size=batch_size, device=device):
            right += (top_classes(logits_of(model, x)) == y).sum()
    return int(right) / len(ds)


def clean_doubts(
    model: nn.Module, ds: Dataset, *, batch_size: int, device: str | torch.device = "cpu"
) -> list[str]:
    """Return why a classifier may be none, by its answers to clean samples; see `doubts_of`."""
    before, labels, classes = [], [], 2
    for x, y, _ in iterate(ds, batch_size=batch_size, device=device):
        logits = predict(model, x)
        own, classes = top_classes(logits), logits.shape[1]
        before.append(own.cpu())
        labels.append(torch.where(y < 0, own, y).cpu())
    return doubts_of(torch.cat(before), torch.cat(labels), classes=classes)


def attack_batches(
    attack: Attack,
    model: nn.Module,
    ds: Dataset,
    *,
    batch_size: int,
    seed: int,
    device: str | torch.device = "cpu",
    target: int | None = None,
    skip: int = 0,
) -> Iterator[AttackedBatch]:
    """Attack the samples of ``ds`` in order, a batch at a time.

    A sample's random numbers follow from ``seed`` and its id, whatever the batch or a resume.

    Args:
        attack: any of ``ATTACKS``, with its options.
        model: the classifier, on ``device``.
        ds: what to attack.
        batch_size: samples in a batch.
        seed: of the attack.
        device: where to attack.
        target: class that every sample is driven to; None for any wrong class.
        skip: number of batches at the start that are done already.
    """
    rest = range(min(skip * batch_size, len(ds)), len(ds))
    for x, y, index in iterate(ds.subset(rest), batch_size=batch_size, device=device):
        index = index + rest.start
        logits = predict(model, x)
        y = torch.where(y < 0, logits.argmax(1), y)
        wanted = None if target is None else torch.full_like(y, target)
        result = attack(
            model,
            x,
            y,
            target=wanted,
            seed=seed,
            sample_ids=[derive_seed(ds.ids[i]) for i in index.tolist()],
        )
        yield AttackedBatch(index, y, top_classes(logits), logits.shape[1], result, wanted)


def evaluate_attack(
    attack: Attack,
    model: nn.Module,
    ds: Dataset,
    *,
    batch_size: int,
    seed: int,
    device: str | torch.device = "cpu",
    target: int | None = None,
) -> AttackMeasurement:
    """Attack every sample of ``ds`` (see ``attack_batches``) and measure."""
    _check_samples(ds)
    start = time.perf_counter()
    columns: list[Columns] = []
    warnings: list[str] = []
    classes = None
    for batch in attack_batches(
        attack, model, ds, batch_size=batch_size, seed=seed, device=device, target=target
    ):
        columns.append(score_batch(batch))
        warnings += batch.result.info.get("warnings", [])
        classes = batch.classes
    seconds, budget = time.perf_counter() - start, budget_of(attack)
    return summarise(columns, seconds=seconds, warnings=warnings, budget=budget, classes=classes)


def top_classes(logits: Tensor) -> Tensor:
    """Return the top classes of logits (B, K), (B,); -1 where one is not finite."""
    return logits.argmax(1).masked_fill(~torch.isfinite(logits).all(1), -1)


def _check_samples(ds: Dataset) -> None:
    if not len(ds):
        raise ValueError(f"{ds.name} has no samples to evaluate; give at least one")
