"""The nearest boundary of a linearised classifier, and the shortest way to it within [0, 1]."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from attacks.attack import Norm, lengths
from attacks.common.active_set import index_rows
from attacks.common.expectation import Expectation
from attacks.common.goal import Classifier, Goal, check_differentiable, likeliest_wrong, logits_of
from attacks.common.threat import column
from attacks.minimum_norm.best_by_norm import clearance

_DUAL: dict[Norm, Norm] = {"linf": "l1", "l2": "l2", "l1": "linf"}
_NEWTON_STEPS = 8
_LARGE = 16  # samples, from which on half of them are as quick


@dataclass
class Boundary:
    """The nearest linearised boundary of each sample.

    Attributes:
        logits: of the samples, (B, K).
        target: the class behind it, int64 (B,).
        gap: how much its logit lacks to win, and by more than rounding, (B,).
        gradient: of its lead, (B, ...); 0 where there is no way to any boundary.
    """

    logits: Tensor
    target: Tensor
    gap: Tensor
    gradient: Tensor

    def aim(self, goal: Goal) -> Goal:
        """Return the goal of crossing this boundary, with an unchanged notion of success."""
        return replace(goal, target=self.target, any_class=goal.target is None)


def nearest_boundary(
    model: Classifier, x: Tensor, goal: Goal, *, norm: Norm, classes: int = 10
) -> Boundary:
    """Return the nearest boundary between the label and the likeliest other classes.

    With a target it is that between the target and the class now on top. One forward pass, and a
    backward pass for each boundary looked at.

    Args:
        model: the classifier, frozen.
        x: samples, (B, ...) in [0, 1].
        goal: theirs, with the loss "margin".
        norm: in which the way is measured.
        classes: how many classes are looked at, the label among them.

    Source: Moosavi-Dezfooli et al. 2016, eq. (8).
    """
    # All gradients of a pass keep it in memory to the end: half a batch at once, half of that.
    passes = model.passes if isinstance(model, Expectation) else 1
    parts = torch.arange(len(x), device=x.device).chunk(passes * (2 if len(x) >= _LARGE else 1))
    found = [
        _nearest(model, x[rows], index_rows(goal, rows), norm=norm, classes=classes)
        for rows in parts
    ]
    names = [field.name for field in fields(Boundary)]
    return Boundary(**{n: torch.cat([getattr(part, n) for part in found]) for n in names})


def _nearest(model: Classifier, x: Tensor, goal: Goal, *, norm: Norm, classes: int) -> Boundary:
    """Find the nearest boundaries of all samples at once."""
    x = x.detach().requires_grad_()
    logits = logits_of(model, x)
    goal.check_classes(logits)
    if goal.target is None:
        rivals = likeliest_wrong(logits.detach(), goal.y, classes - 1)  # (B, k)
        leads = logits.gather(1, rivals) - logits.gather(1, goal.y[:, None])
    else:
        rivals, leads = goal.target[:, None], goal.objective(logits)[:, None]  # (B, 1)
    least = torch.finfo(x.dtype).eps ** 2  # of a tie, where all logits are 0
    gaps = (2 * clearance(logits)[:, None] - leads).detach().clamp_min(least)  # (B, k)
    far = gaps.new_full((len(x),), torch.inf)
    found = Boundary(logits.detach(), rivals[:, 0], torch.zeros_like(far), torch.zeros_like(x))
    rows = zip(rivals.unbind(1), gaps.unbind(1), jacobian_rows(leads, x), strict=True)
    for target, gap, row in rows:
        way = _distance(x.detach(), row, gap, norm)
        nearer = way < far
        mask = column(nearer, x)
        far, found.gap = torch.where(nearer, way, far), torch.where(nearer, gap, found.gap)
        found.target = torch.where(nearer, target, found.target)
        found.gradient = torch.where(mask, row, found.gradient)
    return found


def _distance(x: Tensor, gradient: Tensor, gap: Tensor, norm: Norm) -> Tensor:
    """Return how far a linear boundary is, (B,); infinite where no pixel can move towards it."""
    way = distance(movable(gradient, x), gap, norm)
    if norm != "l1":
        return way
    # In l1 the ends of the range matter more: the steepest pixel may reach its own at once.
    step = lengths(shortest_step(x, gradient, gap, norm), norm)
    return torch.where(way.isfinite(), step, way)


def jacobian_rows(values: Tensor, x: Tensor) -> Iterator[Tensor]:
    """Yield the gradient in x of each column of values: one backward pass each, no forward pass.

    Only the row at hand is kept, so memory does not grow with the number of classes. An entry
    that is not finite shows no way and is 0.

    Args:
        values: (B, k), computed from x; row i depends on x[i] alone.
        x: (B, ...), a leaf that requires a gradient.

    Yields:
        k tensors like x; entry i of the j-th is the gradient of values[i, j].

    Raises:
        ValueError: when no gradient flows to values.

    >>> x = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    >>> [row.tolist() for row in jacobian_rows(x * x, x)]
    [[[2.0, 0.0], [6.0, 0.0]], [[0.0, 4.0], [0.0, 8.0]]]
    """
    check_differentiable(values)
    columns = values.sum(0).unbind()  # k numbers; no sample's part in them depends on another
    for number, total in enumerate(columns, start=1):
        (row,) = torch.autograd.grad(total, x, retain_graph=number < len(columns))
        yield row.contiguous().nan_to_num(0, 0, 0)


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
