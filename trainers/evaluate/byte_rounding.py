"""Perturbed samples as bytes, the only values that picture and video files hold."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from attacks.attack import AttackResult, Norm, lengths
from attacks.common.active_set import index_rows
from attacks.common.frozen import frozen
from attacks.common.goal import Goal, logits_of, value_and_gradient
from attacks.common.threat import column
from attacks.minimum_norm.best_by_norm import clearance
from trainers.evaluate.budgets import Budget

TOP = 255
STEPS = 30
_LEAD = 1.5  # more than a linear classifier would need
_TOLERANCE = 1e-6  # of a length, for x in [0, 1] is rounded itself


def round_to_bytes(
    model: nn.Module, result: AttackResult, goal: Goal, budget: Budget | None = None
) -> AttackResult:
    """Round an attack's samples to bytes, and push on those that this costs their success.

    A push moves the values that the model's margin grows fastest with by one byte each, and only
    values that the attack itself had changed, until the goal is met by more than rounding. Where
    the attack had a budget, no sample leaves it; a sample that no bytes keep within it, because x
    lies between bytes and the budget is smaller than one, is no success.

    Args:
        model: the classifier; left exactly as it was.
        result: what the attack returned.
        goal: what counts as success.
        budget: what the attack was held to; None for nothing.

    Returns:
        The result with x_adv in multiples of 1/255, its success, and the passes spent; all else
        is the attack's.
    """
    goal = replace(goal, loss="margin")
    room = _Room.of(result, budget)
    start = room.fit((result.x_adv * TOP).round(), (result.x_adv - result.x).abs())
    with frozen(model):
        with torch.no_grad():
            met = _surely(goal, logits_of(model, start / TOP))
        pushed, spent = _push_on(model, start, result.success & ~met, goal, room)
        with torch.no_grad():
            success = goal.is_adversarial(logits_of(model, pushed / TOP)) & room.holds(pushed)
    return replace(result, x_adv=pushed / TOP, success=success, queries=result.queries + spent + 2)


def _push_on(
    model: nn.Module, start: Tensor, lost: Tensor, goal: Goal, room: "_Room"
) -> tuple[Tensor, Tensor]:
    """Push the bytes start (B, ...) on where they are lost (B,) until they meet the goal.

    Returns:
        The bytes, as at the start where it was in vain, and the passes spent on each, (B,).
    """
    rows = lost.nonzero().flatten()  # (A,)
    pushed, spent = start.clone(), torch.zeros_like(goal.y)
    for step in range(STEPS):
        if not len(rows):
            break
        part, here = index_rows(goal, rows), index_rows(room, rows)
        pushed[rows] = _push(model, pushed[rows], part, here, step)
        with torch.no_grad():
            met = _surely(part, logits_of(model, pushed[rows] / TOP))
        spent = spent.index_add(0, rows, torch.full_like(rows, 2))
        rows = rows[~met]
    pushed[rows] = start[rows]
    return pushed, spent


def _surely(goal: Goal, logits: Tensor) -> Tensor:
    """Tell where the goal is met by more than rounding, whatever the batch, (B,) bool."""
    return goal.is_adversarial(logits) & (goal.objective(logits) > clearance(logits))


def _push(model: nn.Module, z: Tensor, goal: Goal, room: "_Room", step: int) -> Tensor:
    """Move the bytes z (A, ...) that matter most by one; in each step at least twice as many."""
    logits, value, gradient = _slope(model, z / TOP, goal)
    gradient = gradient.nan_to_num(0, 0, 0)
    flat = (gradient != 0).flatten(1).any(1)
    gradient = torch.where(column(flat, z), gradient, z / TOP - room.x)  # further along
    moved = z + gradient.sign()
    movable = room.changed & (moved >= room.low) & (moved <= room.high)
    gain = (gradient.abs() * movable).flatten(1)  # (A, D)
    best, order = gain.sort(1, descending=True)
    short = (clearance(logits) - value).nan_to_num(0).clamp_min(0) * _LEAD  # (A,)
    needed = 1 + (best.cumsum(1) / TOP < short[:, None]).sum(1)  # (A,)
    count = needed.clamp_min(2**step)
    rank = order.argsort(1)  # (A, D)
    taken = (rank < count[:, None]).reshape(z.shape) & movable
    return room.fit(torch.where(taken, moved, z), gradient.abs())


def _slope(model: nn.Module, x: Tensor, goal: Goal) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits, margin and its gradient in x; 0 of a model that none flows through."""
    try:
        return value_and_gradient(model, x, goal.objective)
    except (ValueError, RuntimeError):
        with torch.no_grad():
            logits = logits_of(model, x)
        return logits, goal.objective(logits), torch.zeros_like(x)


@dataclass(frozen=True)
class _Room:
    """The bytes that rounded samples may have: within the budget, and only where changed.

    Attributes:
        x: the clean samples, (B, ...) in [0, 1].
        changed: the values that the attack changed, like x, bool.
        near: the bytes nearest to x.
        low: the lowest bytes allowed, like x.
        high: the highest.
        norm: of the budget.
        eps: its radius, (B,); infinite where there is none.
    """

    x: Tensor
    changed: Tensor
    near: Tensor
    low: Tensor
    high: Tensor
    norm: Norm
    eps: Tensor

    @classmethod
    def of(cls, result: AttackResult, budget: Budget | None) -> "_Room":
        """Return the room around the samples of a result."""
        if budget is None or budget.eps is None:
            budget = Budget("linf", torch.inf)
        x, near = result.x, (result.x * TOP).round()
        eps = x.new_tensor(budget.eps).expand(len(x))  # (B,)
        low, high = torch.zeros_like(near), torch.full_like(near, TOP)
        if budget.norm == "linf":
            reach = column(eps + _TOLERANCE / 2, x) * TOP
            low = low.maximum((x * TOP - reach).ceil())
            high = high.minimum((x * TOP + reach).floor())
            none = low > high  # x lies between bytes that are both too far
            low, high = torch.where(none, near, low), torch.where(none, near, high)
        return cls(x, result.x_adv != x, near, low, high, budget.norm, eps)

    def holds(self, z: Tensor) -> Tensor:
        """Tell which bytes z (B, ...) are within the budget, (B,) bool."""
        return lengths(z / TOP - self.x, self.norm) <= self.eps + _TOLERANCE

    def fit(self, z: Tensor, worth: Tensor) -> Tensor:
        """Return bytes z (B, ...) moved into the room.

        What the attack left alone stays. Where the length of the change is still too much, the
        values worth least (like z, at least 0) go back to the bytes nearest to x, no more than
        needed.
        """
        z = torch.where(self.changed, z.maximum(self.low).minimum(self.high), self.near)
        if self.norm == "linf" or bool(self.holds(z).all()):
            return z
        order = worth.flatten(1).argsort(1)  # (B, D), the least worth first
        rank = order.argsort(1).reshape(z.shape)
        few = torch.full_like(order[:, 0], -1)  # too few to go back
        many = torch.full_like(few, order.shape[1])  # enough, or all there are
        for _ in range(order.shape[1].bit_length() + 1):
            half = (few + many) // 2
            held = self.holds(torch.where(rank < column(half, z), self.near, z))
            few, many = torch.where(held, few, half), torch.where(held, half, many)
        return torch.where(rank < column(many, z), self.near, z)
