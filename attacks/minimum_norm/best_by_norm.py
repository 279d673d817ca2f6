"""The nearest success of each sample so far, kept by attacks without a ball."""

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.attack import AttackResult, Norm, lengths
from attacks.common.batch_attack import Call
from attacks.common.goal import Goal, warnings_of, without_slope
from attacks.common.threat import column

_ROUNDING_ERRORS = 32


def clearance(logits: Tensor) -> Tensor:
    """Return how far from 0 the margin of logits (B, K) may lie by rounding alone, (B,).

    A minimum-norm attack ends on the boundary, where another batch size, and with it another
    order of summation, could otherwise turn a success into a failure.
    """
    return _ROUNDING_ERRORS * torch.finfo(logits.dtype).eps * logits.abs().amax(1)


@dataclass
class BestByNorm:
    """The successful iterate of each sample with the smallest norm so far, else the sample.

    A sample that meets the goal from the start is its own nearest success.

    Attributes:
        x: the clean samples, (B, ...).
        goal: theirs, with the loss "margin".
        norm: that is to be small.
        logits: of x, (B, K).
        x_adv: the nearest success, like x; x itself without one.
        size: its distance from x, (B,); infinite without one.
        value: of the goal at x_adv, (B,); NaN where the logits of x are not finite.
        finite: whether all logits were finite so far, bool (B,).
        queries: forward passes spent, int64 (B,).
        stuck: samples that met a gradient without slope, bool (B,).
    """

    x: Tensor
    goal: Goal
    norm: Norm
    logits: Tensor
    x_adv: Tensor
    size: Tensor
    value: Tensor
    finite: Tensor
    queries: Tensor
    stuck: Tensor

    @classmethod
    def start(cls, x: Tensor, logits: Tensor, *, goal: Goal, norm: Norm) -> "BestByNorm":
        """Begin with the clean samples x (B, ...) and their logits (B, K), from one pass."""
        finite = torch.isfinite(logits).all(1)
        size = torch.zeros_like(logits[:, 0]).masked_fill(~goal.is_adversarial(logits), torch.inf)
        value = goal.objective(logits).masked_fill(~finite, torch.nan)
        one, no = torch.ones_like(goal.y), torch.zeros_like(finite)
        return cls(x, goal, norm, logits, x, size, value, finite, queries=one, stuck=no)

    @property
    def success(self) -> Tensor:
        """Whether the goal has been met, bool (B,)."""
        return torch.isfinite(self.size)

    def update(
        self,
        x_adv: Tensor,
        logits: Tensor,
        *,
        lead: float = 0,
        size: Tensor | None = None,
        passes: int | Tensor = 1,
    ) -> Tensor:
        """Take over the iterates x_adv (B, ...) that are nearer than the best before.

        Args:
            x_adv: (B, ...).
            logits: theirs, (B, K).
            lead: by how much the goal must be met, in logits, and then by more than rounding.
            size: how far x_adv counts as from x, (B,); None takes the norm.
            passes: spent on them, a number or (B,).

        Returns:
            Which of them meet the goal, bool (B,).
        """
        value = self.goal.objective(logits)
        size = lengths(x_adv - self.x, self.norm) if size is None else size
        met = self.goal.is_adversarial(logits) & (value > lead + clearance(logits))
        nearer = met & (size < self.size)
        mask = column(nearer, x_adv)
        self.x_adv = torch.where(mask, x_adv, self.x_adv)
        self.size = torch.where(nearer, size, self.size)
        self.value = torch.where(nearer, value, self.value)
        self.finite = self.finite & torch.isfinite(logits).all(1)
        self.queries = self.queries + passes
        return met

    def note_slope(self, gradient: Tensor) -> None:
        """Note which samples have no gradient (B, ...) to follow, and no success yet."""
        self.stuck = self.stuck | (without_slope(gradient) & ~self.success)

    def result(self, call: Call, history: Tensor | None = None) -> AttackResult:
        """Build the result of the attack.

        Args:
            call: that the attack was given.
            history: the loss before each step, (steps, B).
        """
        goal, stuck = self.goal, self.stuck & self.finite & ~self.success
        return AttackResult(
            x=self.x,
            x_adv=self.x_adv.clone(),
            success=self.success,
            already=goal.is_adversarial(self.logits),
            queries=self.queries,
            loss=goal.as_loss(self.value),
            history=history,
            info=warnings_of(
                goal, self.logits, finite=self.finite, stuck=stuck, random=call.random
            ),
        )
