"""The shortest way from a point of [0, 1]^n to a hyperplane without leaving the cube."""

import torch
from torch import Tensor

from attacks.threat import Norm

ROUNDS = 12  # Newton steps; on gradients of networks 2 to 4 reach the last bit of float32


def to_hyperplane(x: Tensor, slope: Tensor, gap: Tensor, *, norm: Norm) -> Tensor:
    """Return the smallest d with slope . d = gap and x + d in [0, 1].

    Where the cube ends before the hyperplane, d leads to the corner nearest to it.

    Args:
        x: points, (B, ...) in [0, 1].
        slope: normals of the hyperplanes, like x.
        gap: how much slope . x has to grow, (B,).
        norm: what "smallest" means.

    Returns:
        d, like x. It is zero where slope is, and where slope or gap is not finite.

    Source: Croce & Hein 2020 (FAB), eq. (4) and appendix A; solved there by sorting.

    >>> x = torch.tensor([[0.5, 0.9]])
    >>> to_hyperplane(x, torch.tensor([[1.0, 1.0]]), torch.tensor([0.3]), norm="linf")
    tensor([[0.2000, 0.1000]])
    """
    peak = slope.flatten(1).abs().amax(1)  # (B,)
    usable = torch.isfinite(peak) & (peak > 0) & torch.isfinite(gap)
    # Scaled by the largest entry: the squares of a tiny gradient would underflow.
    peak = torch.where(usable, peak, 1)[:, None]  # (B, 1)
    flat = slope.flatten(1).masked_fill(~usable[:, None], 0)  # (B, N)
    gap = gap.masked_fill(~usable, 0)[:, None]  # (B, 1)
    direction = flat.sign() * gap.sign()
    room = torch.where(direction > 0, 1 - x.flatten(1), x.flatten(1))
    weight, gap = flat.abs() / peak, gap.abs() / peak
    solve = _greedy if norm == "l1" else _level
    size = solve(weight, room, gap, weight if norm == "l2" else torch.ones_like(weight))
    return (direction * size).reshape(x.shape)


def _level(weight: Tensor, room: Tensor, gap: Tensor, pace: Tensor) -> Tensor:
    """Return min(t * pace, room) with t such that its sum weighted by `weight` is gap.

    That sum is concave in t, so Newton's method comes from below and never passes the root.
    """
    t = torch.zeros_like(gap)
    for _ in range(ROUNDS):
        free = room > t * pace
        full = torch.where(free, 0, weight * room).sum(1, keepdim=True)
        growth = torch.where(free, weight * pace, 0).sum(1, keepdim=True)
        newton = (gap - full) / growth.clamp_min(torch.finfo(t.dtype).tiny)
        t = torch.maximum(t, newton.clamp_max(torch.finfo(t.dtype).max))
    return torch.minimum(t * pace, room)


def _greedy(weight: Tensor, room: Tensor, gap: Tensor, _: Tensor) -> Tensor:
    """Return sizes that use up the coordinates of the largest weight one after the other."""
    sorted_weight, order = weight.sort(1, descending=True)  # (B, N)
    gain = sorted_weight * room.gather(1, order)
    before = gain.cumsum(1) - gain
    used = torch.minimum((gap - before).clamp_min(0), gain)
    size = used / sorted_weight.clamp_min(torch.finfo(used.dtype).tiny)
    return torch.minimum(torch.zeros_like(size).scatter(1, order, size), room)
