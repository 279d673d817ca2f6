"""The best iterate of each sample so far."""

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.common.goal import Goal
from attacks.common.threat import column


@dataclass
class BestByLoss:
    """The best iterate of each sample so far: one that meets the goal, then the highest value.

    Attributes:
        x_adv: the iterates, (B, ...) in [0, 1].
        value: the goal's value there, (B,); NaN until some logits are finite.
        success: whether the goal is met there, bool (B,).
        finite: whether all logits were finite so far, bool (B,).
    """

    x_adv: Tensor
    value: Tensor
    success: Tensor
    finite: Tensor

    @classmethod
    def start(cls, x: Tensor) -> "BestByLoss":
        """Begin with the clean samples, whose value is not known."""
        value = x.new_full((len(x),), torch.nan)
        no = torch.zeros_like(value, dtype=torch.bool)
        return cls(x_adv=x, value=value, success=no, finite=~no)

    @classmethod
    def seen(cls, x_adv: Tensor, goal: Goal, *, logits: Tensor, value: Tensor) -> "BestByLoss":
        """Build the iterates x_adv (B, ...) with their success; arguments as of `update`."""
        finite = torch.isfinite(logits).all(1)
        return cls(
            x_adv,
            value.masked_fill(~finite, torch.nan),
            goal.is_adversarial(logits, finite=finite),
            finite,
        )

    def update(
        self, x_adv: Tensor, goal: Goal, *, logits: Tensor, value: Tensor, keep_first: bool = False
    ) -> None:
        """Take over the samples that x_adv (B, ...) improves.

        Args:
            x_adv: the next iterates.
            goal: decides what counts as success.
            logits: of x_adv, (B, K).
            value: the goal's, of these logits, (B,).
            keep_first: a sample's first success stays, whatever the value of later ones.
        """
        other = BestByLoss.seen(x_adv, goal, logits=logits, value=value)
        self.merge(other, keep_first=keep_first)

    def better(self, other: "BestByLoss", *, keep_first: bool = False) -> Tensor:
        """Return whose best is better in `other`, bool (B,); see `update`."""
        higher = ~(other.value <= self.value)  # than NaN, too
        better = torch.where(other.success == self.success, higher, other.success)
        better = better & ~other.value.isnan()
        return better & ~self.success if keep_first else better

    def merge(self, other: "BestByLoss", *, keep_first: bool = False) -> None:
        """Take over the samples whose best is better in `other`; see `update`."""
        better = self.better(other, keep_first=keep_first)
        finite = other.finite | self.success if keep_first else other.finite
        mask = column(better, self.x_adv)
        self.x_adv = torch.where(mask, other.x_adv, self.x_adv)
        self.value = torch.where(better, other.value, self.value)
        self.success = self.success | other.success
        self.finite = self.finite & finite
