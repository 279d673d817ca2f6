"""Calibration: whether answers given with a confidence of 0.8 are right four times in five."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainers.intervals import wilson

BINS = 15
RESAMPLES = 200
SURE = 0.95  # quantile of the error that a calibrated classifier would show


@dataclass(frozen=True)
class Calibration:
    """How far confidences are from the share that is right, over N samples.

    Attributes:
        samples: N, those whose confidence is finite.
        ece: the expected calibration error, bins of equal width.
        adaptive_ece: the same, bins of equally many samples.
        chance: the `SURE` quantile of the ECE of a calibrated classifier with these confidences:
            so many samples cannot tell an ECE below it from none.
        bins: those of equal width that hold samples: low, high, samples, confidence (mean),
            accuracy, and its 95 % interval.
    """

    samples: int
    ece: float
    adaptive_ece: float
    chance: float
    bins: list[dict[str, Any]]


def measure_calibration(
    confidence: Tensor, right: Tensor, *, bins: int = BINS, seed: int = 0
) -> Calibration | None:
    """Measure the calibration of a classifier by its answers; None where none is finite.

    Args:
        confidence: (N,) softmax of each answer, in [0, 1].
        right: (N,) bool, whether the answer is the label.
        bins: how many.
        seed: of the resamples behind `chance`.

    Source: Guo et al. 2017, eq. (3); adaptive bins: Nguyen & O'Connor 2015; the resamples:
        Broecker & Smith 2007 (consistency resampling).
    """
    finite = torch.isfinite(confidence)
    confidence, right = confidence[finite].double(), right[finite]
    if not len(confidence):
        return None
    generator = torch.Generator().manual_seed(seed)
    by_chance = [
        calibration_error(confidence, draw < confidence, bins=bins)
        for _ in range(RESAMPLES)
        for draw in [torch.rand(len(confidence), generator=generator, dtype=torch.float64)]
    ]
    return Calibration(
        samples=len(confidence),
        ece=calibration_error(confidence, right, bins=bins),
        adaptive_ece=adaptive_calibration_error(confidence, right, bins=bins),
        chance=float(torch.tensor(by_chance).quantile(SURE)),
        bins=reliability_bins(confidence, right, bins=bins),
    )


def calibration_error(confidence: Tensor, right: Tensor, *, bins: int = BINS) -> float:
    """Return the expected calibration error over bins of equal width.

    Args:
        confidence: (N,) in [0, 1].
        right: (N,) bool.
        bins: how many; bin m holds confidences in (m / bins, (m + 1) / bins].

    Source: Guo et al. 2017, eq. (3).

    >>> calibration_error(torch.tensor([0.9, 0.9]), torch.tensor([True, False]))
    0.4
    """
    gap = right.double() - confidence.double()
    sums = torch.bincount(bin_numbers(confidence, bins), weights=gap, minlength=bins)
    return float(f"{float(sums.abs().sum()) / len(confidence):.12g}")


def bin_numbers(confidence: Tensor, bins: int) -> Tensor:
    """Return the bin of each confidence (N,), int64 from 0; the upper end of a bin is in it."""
    return (confidence.double() * bins).ceil().long().sub(1).clamp(0, bins - 1)


def adaptive_calibration_error(confidence: Tensor, right: Tensor, *, bins: int = BINS) -> float:
    """Return the calibration error over bins of equally many samples, to one.

    Args:
        confidence: (N,) in [0, 1].
        right: (N,) bool.
        bins: how many, N at most.

    Source: Nguyen & O'Connor 2015, section 3.
    """
    gap = (right.double() - confidence.double())[confidence.argsort(stable=True)]  # (N,)
    parts = gap.tensor_split(min(bins, len(gap)))
    return float(torch.stack([part.sum().abs() for part in parts]).sum()) / len(gap)


def reliability_bins(
    confidence: Tensor, right: Tensor, *, bins: int = BINS
) -> list[dict[str, Any]]:
    """Return the bins of a reliability diagram that hold samples; see `Calibration.bins`."""
    number = bin_numbers(confidence, bins)
    rows = []
    for m in sorted(set(number.tolist())):
        own = number == m
        n, hits = int(own.sum()), int(right[own].sum())
        mean = float(confidence[own].double().mean())
        ends = {"low": m / bins, "high": (m + 1) / bins}
        shares = {"accuracy": hits / n, "interval": wilson(hits, n)}
        rows.append({**ends, "samples": n, "confidence": mean, **shares})
    return rows
