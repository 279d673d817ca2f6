"""Stability: does a method draw the same map when its random numbers are others?"""

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

from explain.scores.agreement import rank_correlation


def stability(runs: Sequence[Tensor]) -> Tensor:
    """Return the mean rank correlation of each pair of runs for each sample, (B,).

    A method without random numbers has 1. NaN where a map of a run is constant.

    Args:
        runs: maps (B, H, W) or (B, T, H, W) of the same samples, from two seeds or more.

    Raises:
        ValueError: for a single run, or maps that do not fit each other.
    """
    if len(runs) < 2:
        raise ValueError(f"{len(runs)} run has no other to compare with; give two seeds or more")
    pairs = [rank_correlation(first, second) for first, second in combinations(runs, 2)]
    return torch.stack(pairs).mean(0)
