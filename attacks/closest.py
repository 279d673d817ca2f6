"""The nearest success of each sample: what an attack without a ball keeps."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from attacks.goal import Goal, logit_warnings
from attacks.result import AttackResult
from attacks.threat import lengths

_ROUNDING_ERRORS = 32


def clearance(logits: Tensor) -> Tensor:
    """Return (B,) how far a margin of logits (B, K) can lie from 0 by rounding alone.

    A minimum-norm attack ends on the boundary, where another batch size, and with it another
    order of summation, could otherwise turn a success into a failure.
    """
    return _ROUNDING_ERRORS * torch.finfo(logits.dtype).eps * logits.abs().amax(1)


@dataclass
class Closest:
    """The successful iterate of each sample with the smallest norm so far, else the sample.

    A sample that meets the goal from the start is its own nearest success.

    Attributes:
        x: the clean samples (B, ...); goal: with the loss "margin"; norm: to be small.
        x_adv: like x; size: its distance (B,), infinite without success.
        value: of the goal at x_adv (B,), NaN where x has non-finite logits.
        finite: (B,) bool, whether all logits seen were finite.
    """

    x: Tensor
    goal: Goal
    norm: Literal["linf", "l2", "l1"]
    x_adv: Tensor
    size: Tensor
    value: Tensor
    finite: Tensor

    @classmethod
    def start(
        cls, x: Tensor, logits: Tensor, *, goal: Goal, norm: Literal["linf", "l2", "l1"]
    ) -> "Closest":
        """Begin with the clean samples x (B, ...) and their logits (B, K)."""
        finite = torch.isfinite(logits).all(1)
        size = torch.zeros_like(logits[:, 0]).masked_fill(~goal.met(logits), torch.inf)
        value = goal.value(logits).masked_fill(~finite, torch.nan)
        return cls(x, goal, norm, x_adv=x.clone(), size=size, value=value, finite=finite)

    @property
    def success(self) -> Tensor:
        """Whether the goal has been met, (B,) bool."""
        return torch.isfinite(self.size)

    def update(self, x_adv: Tensor, logits: Tensor, *, rows: Tensor) -> Tensor:
        """Take over the iterates that are nearer than the best before.

        Args:
            x_adv: (n, ...), iterates of the samples in `rows`.
            logits: (n, K), the model's answers to them.
            rows: (n,) row numbers in the batch, each at most once.

        Returns:
            (n,) bool, which of the iterates meet the goal by more than rounding.
        """
        goal = self.goal.at(rows)
        value, size = goal.value(logits), lengths(x_adv - self.x[rows], self.norm)
        met = goal.met(logits) & (value > clearance(logits))
        nearer = met & (size < self.size[rows])
        mask = nearer.reshape(-1, *[1] * (x_adv.ndim - 1))
        self.x_adv[rows] = torch.where(mask, x_adv, self.x_adv[rows])
        self.size[rows] = torch.where(nearer, size, self.size[rows])
        self.value[rows] = torch.where(nearer, value, self.value[rows])
        self.finite[rows] &= torch.isfinite(logits).all(1)
        return met

    def result(
        self, *, queries: Tensor, history: Tensor | None = None, info: dict[str, Any] | None = None
    ) -> AttackResult:
        """Return what the attack found for `queries` (B,) forward passes a sample."""
        return AttackResult(
            x=self.x,
            x_adv=self.x_adv,
            success=self.success,
            queries=queries,
            loss=self.goal.as_loss(self.value),
            history=history,
            info={**(info or {}), **logit_warnings(self.finite)},
        )
