"""The nearest success of each sample so far, kept by attacks without a ball."""

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.attack import AttackResult, Norm, lengths
from attacks.common.goal import Goal, warnings_of
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
    """

    x: Tensor
    goal: Goal
    norm: Norm
    logits: Tensor
    x_adv: Tensor
    size: Tensor
    value: Tensor
    finite: Tensor

    @classmethod
    def start(cls, x: Tensor, logits: Tensor, *, goal: Goal, norm: Norm) -> "BestByNorm":
        """Begin with the clean samples x (B, ...) and their logits (B, K)."""
        finite = torch.isfinite(logits).all(1)
        size = torch.zeros_like(logits[:, 0]).masked_fill(~goal.is_adversarial(logits), torch.inf)
        value = goal.objective(logits).masked_fill(~finite, torch.nan)
        return cls(x, goal, norm, logits, x_adv=x, size=size, value=value, finite=finite)

    @property
    def success(self) -> Tensor:
        """Whether the goal has been met, bool (B,)."""
        return torch.isfinite(self.size)

    def update(
        self, x_adv: Tensor, logits: Tensor, *, lead: float = 0, size: Tensor | None = None
    ) -> Tensor:
        """Take over the iterates x_adv (B, ...) that are nearer than the best before.

        Args:
            x_adv: (B, ...).
            logits: theirs, (B, K).
            lead: by how much the goal must be met, in logits, and then by more than rounding.
            size: how far x_adv counts as from x, (B,); None takes the norm.

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
        return met

    def result(
        self,
        *,
        queries: Tensor,
        stuck: Tensor | None = None,
        history: Tensor | None = None,
        random: bool = False,
    ) -> AttackResult:
        """Build the result of the attack.

        Args:
            queries: forward passes spent on each sample, (B,).
            stuck: samples that had no gradient to follow, bool (B,).
            history: the loss before each step, (steps, B).
            random: what `is_random` said of the model.
        """
        if stuck is not None:
            stuck = stuck & self.finite & ~self.success
        trouble = warnings_of(
            self.goal, self.logits, finite=self.finite, stuck=stuck, random=random
        )
        return AttackResult(
            x=self.x,
            x_adv=self.x_adv.clone(),
            success=self.success,
            already=self.goal.is_adversarial(self.logits),
            queries=queries,
            loss=self.goal.as_loss(self.value),
            history=history,
            info=dict(trouble),
        )
