"""Which of the boundaries around a sample is the nearest, by the classifier's linearisation."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from attacks.attack import Norm, lengths
from attacks.common.active_set import index_rows
from attacks.common.goal import Classifier, Goal, check_differentiable, likeliest_wrong, logits_of
from attacks.common.threat import column
from attacks.minimum_norm.best_by_norm import clearance
from attacks.minimum_norm.hyperplane import distance, movable, shortest_step

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
        """Return the goal pursued across this boundary; what counts as met stays the same."""
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
    halves = torch.arange(len(x), device=x.device).chunk(2 if len(x) >= _LARGE else 1)
    parts = [
        _nearest(model, x[rows], index_rows(goal, rows), norm=norm, classes=classes)
        for rows in halves
    ]
    names = [field.name for field in fields(Boundary)]
    return Boundary(**{n: torch.cat([getattr(part, n) for part in parts]) for n in names})


def _nearest(model: Classifier, x: Tensor, goal: Goal, *, norm: Norm, classes: int) -> Boundary:
    """Return what `nearest_boundary` does, of all samples at once."""
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
