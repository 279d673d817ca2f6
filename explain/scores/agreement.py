"""Agreement of maps: do two methods put the pixels of a sample in the same order?"""

from collections.abc import Mapping

import torch
from torch import Tensor

from explain.scores.checks import check_alike, check_maps


def rank_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Return Spearman's rank correlation of two maps of each sample, (B,) in [-1, 1].

    Equal values share their mean rank. NaN where a map is constant, and so has no order.

    Args:
        first: maps (B, H, W), of videos (B, T, H, W).
        second: like first.

    Raises:
        ValueError: for maps that do not fit each other.

    >>> a = torch.tensor([[[1.0, 2.0, 3.0]]])
    >>> rank_correlation(a, a**2), rank_correlation(a, -a)
    (tensor([1.]), tensor([-1.]))
    """
    check_maps("the first maps", first)
    check_maps("the second maps", second)
    check_alike("the second maps", second, first.shape)
    return _correlation(_ranks(first), _ranks(second)).to(first.dtype)


def agreement(maps: Mapping[str, Tensor]) -> Tensor:
    """Return the rank correlation of each pair of methods for each sample, (B, M, M).

    Args:
        maps: M methods by name, each with maps of the same samples, (B, H, W) or (B, T, H, W).

    Raises:
        ValueError: for maps that do not fit each other.
    """
    shape = next(iter(maps.values())).shape
    for name, each in maps.items():
        check_maps(f"maps of {name}", each)
        check_alike(f"maps of {name}", each, shape)
    ranks = [_ranks(each) for each in maps.values()]  # of M methods, (B, P)
    rows = [torch.stack([_correlation(a, b) for b in ranks], 1) for a in ranks]  # (B, M)
    return torch.stack(rows, 1).float()


def _ranks(maps: Tensor) -> Tensor:
    """Return the ranks of the values within each map (B, ...), float64 (B, P)."""
    flat = maps.flatten(1).contiguous()
    ordered = flat.sort(1).values
    below = torch.searchsorted(ordered, flat)
    up_to = torch.searchsorted(ordered, flat, right=True)
    return (below + up_to + 1).double() / 2


def _correlation(first: Tensor, second: Tensor) -> Tensor:
    """Return Pearson's correlation of the rows of two matrices (B, P), (B,)."""
    first, second = (each - each.mean(1, keepdim=True) for each in (first, second))
    both = first.square().sum(1) * second.square().sum(1)
    return ((first * second).sum(1) / both.sqrt()).clamp(-1, 1)
