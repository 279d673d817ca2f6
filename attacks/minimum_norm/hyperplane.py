"""The shortest way within [0, 1] to where a linear function has grown as far as is needed."""

import torch
from torch import Tensor

from attacks.attack import Norm, lengths

_DUAL: dict[Norm, Norm] = {"linf": "l1", "l2": "l2", "l1": "linf"}
_NEWTON_STEPS = 8


def movable(gradient: Tensor, x: Tensor) -> Tensor:
    """Return gradient (B, ...) without the entries that point out of [0, 1] at a pixel's end."""
    stuck = ((x <= 0) & (gradient < 0)) | ((x >= 1) & (gradient > 0))
    return gradient.masked_fill(stuck, 0)


def distance(gradient: Tensor, need: Tensor, norm: Norm) -> Tensor:
    """Return how far, (B,), a linear function with this gradient (B, ...) is from growing by need.

    It is need over the length of the gradient in the dual norm; infinite where that is 0.

    Args:
        gradient: (B, ...), 0 where a pixel cannot move.
        need: (B,), > 0.
        norm: in which the way is measured.
    """
    return need / lengths(gradient, _DUAL[norm])


def shortest_step(x: Tensor, gradient: Tensor, need: Tensor, norm: Norm) -> Tensor:
    """Return the shortest d, like x, with <gradient, d> = need and x + d in [0, 1].

    Where the whole range does not suffice each pixel moves as far as it can.

    Args:
        x: (B, ...) in [0, 1].
        gradient: (B, ...), finite.
        need: (B,), >= 0.
        norm: whose length of d is the smallest.

    Source: Croce & Hein 2020, "Minimally distorted adversarial examples with a fast adaptive
    boundary attack", eq. (4) to (6): the projection onto a hyperplane and the box.

    >>> x, gradient = torch.tensor([[0.5, 0.9]]), torch.tensor([[1.0, 2.0]])
    >>> shortest_step(x, gradient, torch.tensor([0.4]), "l2")
    tensor([[0.2000, 0.1000]])
    """
    slope = gradient.flatten(1)  # (B, D)
    room = torch.where(slope > 0, 1 - x.flatten(1), x.flatten(1)) * (slope != 0)  # (B, D)
    slope = slope * (room > 0)
    # Scaled by the largest entry: the squares of a tiny gradient would underflow.
    peak = lengths(slope, "linf").clamp_min(torch.finfo(slope.dtype).tiny)
    steep, need = slope.abs() / peak[:, None], need / peak
    if norm == "l1":
        moved = _steepest_first(steep, room, need)
    else:
        speed = steep if norm == "l2" else (steep > 0).to(steep)
        moved = _all_at_once(steep, room, speed=speed, need=need)
    return (moved * slope.sign()).reshape(x.shape)


def straight_step(gradient: Tensor, need: Tensor, norm: Norm) -> Tensor:
    """Return the shortest d with <gradient, d> = need, whatever the range; 0 where gradient is.

    Args:
        gradient: (B, ...), finite.
        need: (B,), >= 0.
        norm: "linf" or "l2", whose length of d is the smallest.

    >>> straight_step(torch.tensor([[1.0, 2.0]]), torch.tensor([0.4]), "l2")
    tensor([[0.0800, 0.1600]])
    """
    slope = gradient.flatten(1)  # (B, D)
    tiny = torch.finfo(slope.dtype).tiny
    peak = lengths(slope, "linf").clamp_min(tiny)  # see `shortest_step`
    steep, need = slope / peak[:, None], need / peak
    way = steep.sign() if norm == "linf" else steep
    size = need / (steep * way).sum(1).clamp_min(tiny)
    return (size[:, None] * way).reshape(gradient.shape)


def _steepest_first(steep: Tensor, room: Tensor, need: Tensor) -> Tensor:
    """Return moves (B, D) that gain need (B,): each pixel to its end, the steepest first."""
    steep, order = steep.sort(dim=1, descending=True, stable=True)
    gains = steep * room.gather(1, order)  # (B, D)
    left = need[:, None] - (gains.cumsum(1) - gains)
    taken = torch.minimum(left.clamp_min(0), gains)
    moves = taken / steep.clamp_min(torch.finfo(steep.dtype).tiny)
    return torch.zeros_like(room).scatter(1, order, moves)


def _all_at_once(steep: Tensor, room: Tensor, *, speed: Tensor, need: Tensor) -> Tensor:
    """Return moves (B, D) min(t * speed, room), with the time t at which they gain need (B,).

    The gain is a concave, piecewise linear function of t, on which Newton's method from 0 comes
    up from below and ends within a few steps.
    """
    time = torch.zeros_like(need)
    tiny, most = torch.finfo(need.dtype).tiny, torch.finfo(need.dtype).max
    for _ in range(_NEWTON_STEPS):
        moved = torch.minimum(time[:, None] * speed, room)
        missing = need - (steep * moved).sum(1)
        rate = (steep * speed * (moved < room)).sum(1)
        more = torch.where(rate > 0, missing.clamp_min(0) / rate.clamp_min(tiny), 0)
        time = (time + more).clamp_max(most)  # infinite, it would make NaN of a speed of 0
    return torch.minimum(time[:, None] * speed, room)
