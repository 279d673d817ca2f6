"""How well a score tells attacked samples from clean ones."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from trainers.intervals import SURE, Interval


def roc_curve(clean: Tensor, attacked: Tensor) -> tuple[Tensor, Tensor]:
    """Return false alarms and detections, (N + M + 1,) each, as the threshold falls.

    Args:
        clean: scores of clean samples, (N,).
        attacked: of attacked ones, (M,).
    """
    thresholds = torch.unique(torch.cat([clean, attacked])).flip(0)
    rates = [
        torch.cat([values.new_zeros(1), (values >= thresholds[:, None]).double().mean(1)])
        for values in (clean.double(), attacked.double())
    ]
    return rates[0], rates[1]


def area(clean: Tensor, attacked: Tensor) -> float:
    """Return the area under the ROC curve: how often an attacked sample has the higher score.

    Of two equal scores each counts half.

    >>> area(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0]))
    0.875
    """
    difference = attacked[:, None] - clean  # (M, N)
    return float((difference > 0).double().mean() + (difference == 0).double().mean() / 2)


def area_interval(value: float, n: int, m: int) -> Interval:
    """Return the 95 % interval of an area that was measured on n clean and m attacked samples.

    It holds the areas whose own standard error, that of Hanley & McNeil 1982, reaches the measured
    one; so it has a width also at 1.

    Source: Newcombe 2006 (part 2), method 5.
    """

    def strays(true: float) -> bool:
        more = ((n + m) / 2 - 1) * ((1 - true) / (2 - true) + true / (1 + true))
        variance = true * (1 - true) * (1 + more) / (n * m)
        return abs(value - true) > SURE * math.sqrt(max(variance, 0))

    return _edge(0.0, value, strays), _edge(1.0, value, strays)


def _edge(outside: float, inside: float, strays: Callable[[float], bool]) -> float:
    """Bisect for the border between what strays outside and what does not inside."""
    if not strays(outside):
        return outside
    for _ in range(50):
        middle = (outside + inside) / 2
        outside, inside = (middle, inside) if strays(middle) else (outside, middle)
    return inside


def threshold_at(scores: Tensor, share: float) -> float:
    """Return a threshold that at most a share of scores (N,) exceeds, the lowest of their own.

    >>> threshold_at(torch.arange(10.0), 0.1)
    8.0
    """
    allowed = int(share * len(scores) + 1e-9)
    return float(scores.sort(descending=True).values[min(allowed, len(scores) - 1)])
