"""What the per-sample scores of an attack come to."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.evaluate.budgets import Budget
from trainers.intervals import Interval, wilson

Columns = dict[str, Tensor]


@dataclass(frozen=True)
class AttackMeasurement:
    """The accuracy of a classifier under one attack, over N samples, and the cost of the attack.

    A sample is fooled that could be attacked and on which the attack succeeded.

    Attributes:
        samples: N.
        attackable: how many of them could be attacked, see `AttackedBatch.attackable`.
        fooled: how many of those were.
        clean_accuracy: share of all samples that are right before the attack.
        clean_accuracy_interval: its 95 % interval, see `wilson`.
        robust_accuracy: share of all samples that are right before and not fooled.
        robust_accuracy_interval: its 95 % interval.
        success: share fooled of those that could be attacked; NaN if there are none.
        success_interval: its 95 % interval.
        median_l2: median length of the change of those fooled; NaN if none was.
        delta_l1: mean absolute change of a value, in [0, 1] units, of those fooled; NaN if none.
        delta_sparsity: share of values changed by less than ``SPARSE_BELOW`` in those fooled; NaN
            if none was.
        loss: mean final loss of the attack over all samples where it is finite; NaN without any.
        queries: mean number of forward passes over all samples.
        seconds: time spent.
        clean: (N,) bool, right before.
        survived: (N,) bool, right before and not fooled.
        sizes: lengths of all changes by norm, (N,) each.
        columns: all per-sample scores, (N,) or (N, n) each, see `score_batch`.
        classes: how many the classifier tells apart; None where it was not said.
        budget: what the attack was held to; None for nothing.
        warnings: what the attack reported, each once.
        doubts: why the classifier itself may be the wrong one, see `doubts_of`; empty where
            it was not said how many classes it tells apart.
    """

    samples: int
    attackable: int
    fooled: int
    clean_accuracy: float
    clean_accuracy_interval: Interval
    robust_accuracy: float
    robust_accuracy_interval: Interval
    success: float
    success_interval: Interval
    median_l2: float
    delta_l1: float
    delta_sparsity: float
    loss: float
    queries: float
    seconds: float
    clean: Tensor
    survived: Tensor
    sizes: Columns
    columns: Columns
    classes: int | None
    budget: Budget | None
    warnings: list[str]
    doubts: list[str]

    def __repr__(self) -> str:
        """Return one line: of how many samples, and the rates."""
        return (
            f"{type(self).__name__}({self.samples} samples: clean accuracy "
            f"{self.clean_accuracy:.1%}, robust accuracy {self.robust_accuracy:.1%}, success "
            f"{self.success:.1%} on the {self.attackable} that could be attacked)"
        )


def summarise(
    columns: Sequence[Columns],
    *,
    seconds: float = 0.0,
    warnings: Sequence[str] = (),
    budget: Budget | None = None,
    classes: int | None = None,
) -> AttackMeasurement:
    """Join the columns of all batches into one measurement.

    Args:
        columns: of each batch, see `score_batch`.
        seconds: that the attack took.
        warnings: of the attack.
        budget: what the attack was held to; None for nothing.
        classes: how many the classifier tells apart; None where that is not known.

    Raises:
        ValueError: when there are none.
    """
    table = join_columns(columns)
    clean, attackable = table["clean"], table["attackable"]
    fooled = attackable & table["fooled"]
    survived = clean & ~fooled
    n, masks = len(clean), (clean, attackable, fooled, survived)
    right, could, won, kept = (int(mask.sum()) for mask in masks)
    return AttackMeasurement(
        samples=n,
        attackable=could,
        fooled=won,
        clean_accuracy=right / n,
        clean_accuracy_interval=wilson(right, n),
        robust_accuracy=kept / n,
        robust_accuracy_interval=wilson(kept, n),
        success=won / could if could else math.nan,
        success_interval=wilson(won, could),
        median_l2=float(table["l2"][fooled].double().quantile(0.5)) if won else math.nan,
        delta_l1=mean(table["delta_l1"][fooled]),
        delta_sparsity=mean(table["delta_sparsity"][fooled]),
        loss=mean(table["loss"]),
        queries=mean(table["queries"]),
        seconds=seconds,
        clean=clean,
        survived=survived,
        sizes={norm: table[norm] for norm in ("linf", "l2", "l1")},
        columns=table,
        classes=classes,
        budget=budget,
        warnings=list(dict.fromkeys(warnings)),
        doubts=doubts_of(table["before"], table["label"], classes=classes) if classes else [],
    )


def join_columns(columns: Sequence[Columns]) -> Columns:
    """Join the columns of several batches, (N,) or (N, ...) each.

    Raises:
        ValueError: when there are none.
    """
    if not columns:
        raise ValueError("there are no attacked samples to summarise; attack at least one")
    return {name: torch.cat([part[name] for part in columns]) for name in columns[0]}


def mean(values: Tensor) -> float:
    """Return the mean of the finite values of (N,), in float64; NaN where there are none."""
    values = values.double()
    return float(values[torch.isfinite(values)].mean())


def finite_or_none(value: float) -> float | None:
    """Return a number that JSON knows, or None.

    >>> finite_or_none(float("nan")) is None
    True
    """
    return value if math.isfinite(value) else None


def median_or_none(values: Tensor) -> float | None:
    """Return the median of (N,); None of nothing."""
    return float(values.double().quantile(0.5)) if len(values) else None


ONE_CLASS = 0.95  # share of answers that are one class: suspicious
VARIED = 0.8  # where this class has at most such a share of the labels


def doubts_of(before: Tensor, label: Tensor, *, classes: int) -> list[str]:
    """Return why a classifier may be none: at chance, or with one answer to nearly everything.

    Args:
        before: its answers to clean samples, (N,).
        label: their labels, (N,); its own answers where they have none.
        classes: how many it tells apart.
    """
    n, right = len(before), int((before == label).sum())
    low, high = wilson(right, n)
    advice = "check that weights, classes, --mean and --std belong together"
    found = []
    if low <= 1 / classes:
        found.append(
            f"the classifier is right on {right} of {n} clean samples ({right / n:.1%}, 95 % "
            f"interval {low:.1%} to {high:.1%}), which cannot be told from guessing among "
            f"{classes} classes ({1 / classes:.1%}); {advice}, or take more samples"
        )
    answer = int(before.mode().values)
    share, own = (float((part == answer).double().mean()) for part in (before, label))
    if n > 1 and share >= ONE_CLASS and own <= VARIED:
        what = "no finite answer" if answer < 0 else f"class {answer}"
        found.append(
            f"the classifier gives {share:.1%} of {n} clean samples {what}, which is the label of "
            f"{own:.1%}; {advice}"
        )
    return found
