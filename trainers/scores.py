"""Per-sample scores of an attack, and what they come to."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks import AttackResult

Columns = dict[str, Tensor]

SPARSE_BELOW = 1 / 255  # a smaller change of a value does not show in an 8-bit picture


@dataclass(frozen=True)
class AttackedBatch:
    """One attacked batch.

    Attributes:
        index: (B,) int64, numbers of the samples in the dataset.
        y: (B,) labels; of unlabelled samples the classifier's own answer.
        clean: (B,) bool, whether the classifier was right before the attack.
        result: what the attack returned.
    """

    index: Tensor
    y: Tensor
    clean: Tensor
    result: AttackResult


@dataclass(frozen=True)
class AttackMeasurement:
    """How a classifier does under one attack, over N samples.

    Attributes:
        samples: N.
        clean_accuracy: share of samples that are right before the attack.
        robust_accuracy: share of samples that are right before and not fooled.
        success: share fooled among those right before; NaN if there are none.
        median_l2: median length of the change among those; NaN if none was fooled.
        delta_l1: mean absolute change of a value, in [0, 1] units, over all samples.
        delta_sparsity: share of values changed by less than ``SPARSE_BELOW``.
        loss: mean final loss of the attack.
        queries: mean number of forward passes a sample.
        seconds: time spent.
        survived: (N,) bool, right before and not fooled.
        warnings: what the attack reported, each once.
    """

    samples: int
    clean_accuracy: float
    robust_accuracy: float
    success: float
    median_l2: float
    delta_l1: float
    delta_sparsity: float
    loss: float
    queries: float
    seconds: float
    survived: Tensor
    warnings: list[str]


def score_batch(batch: AttackedBatch) -> Columns:
    """Per-sample columns (B,) of one batch, on the CPU, for a file or for ``summarise``.

    Returns:
        index, clean, fooled, l2, delta_l1, delta_sparsity, loss, queries; see
        ``AttackMeasurement``.
    """
    result, change = batch.result, batch.result.delta.abs().flatten(1)  # (B, C*H*W)
    columns = {
        "index": batch.index,
        "clean": batch.clean,
        "fooled": result.success,
        "l2": result.l2,
        "delta_l1": change.mean(1),
        "delta_sparsity": (change < SPARSE_BELOW).float().mean(1),
        "loss": result.loss,
        "queries": result.queries,
    }
    return {name: column.detach().cpu() for name, column in columns.items()}


def summarise(
    columns: Sequence[Columns], *, seconds: float = 0.0, warnings: Sequence[str] = ()
) -> AttackMeasurement:
    """Join the columns of all batches into one measurement.

    Raises:
        ValueError: when there are none.
    """
    if not columns:
        raise ValueError("there are no attacked samples to summarise; attack at least one")
    table = {name: torch.cat([part[name] for part in columns]) for name in columns[0]}  # (N,)
    clean, fooled = table["clean"], table["clean"] & table["fooled"]
    survived = clean & ~fooled

    def mean(name: str) -> float:
        return float(table[name].double().mean())

    return AttackMeasurement(
        samples=len(clean),
        clean_accuracy=mean("clean"),
        robust_accuracy=float(survived.double().mean()),
        success=float(fooled[clean].double().mean()),
        median_l2=float(table["l2"][fooled].double().quantile(0.5)) if fooled.any() else torch.nan,
        delta_l1=mean("delta_l1"),
        delta_sparsity=mean("delta_sparsity"),
        loss=mean("loss"),
        queries=mean("queries"),
        seconds=seconds,
        survived=survived,
        warnings=list(dict.fromkeys(warnings)),
    )


def worst_case(measurements: Sequence[AttackMeasurement]) -> float:
    """Share of samples that survive every one of the attacks, all run on the same samples.

    Raises:
        ValueError: when there are no measurements.
    """
    if not measurements:
        raise ValueError("there are no measurements; evaluate at least one attack")
    survived = torch.stack([m.survived for m in measurements]).all(0)  # (N,)
    return float(survived.double().mean())
