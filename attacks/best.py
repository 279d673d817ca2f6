"""The best iterate of each sample so far."""

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.goal import Goal


@dataclass
class Best:
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
    def start(cls, x: Tensor) -> "Best":
        """Begin with the clean samples, whose value is not known."""
        value = x.new_full((len(x),), torch.nan)
        no = torch.zeros_like(value, dtype=torch.bool)
        return cls(x_adv=x, value=value, success=no, finite=~no)

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
        success, finite = goal.met(logits), torch.isfinite(logits).all(1)
        higher = ~(value <= self.value)  # than NaN, too
        better = finite & ((success & ~self.success) | ((success == self.success) & higher))
        if keep_first:
            better, finite = better & ~self.success, finite | self.success
        mask = better.reshape(-1, *[1] * (x_adv.ndim - 1))
        self.x_adv = torch.where(mask, x_adv, self.x_adv)
        self.value = torch.where(better, value, self.value)
        self.success = self.success | success
        self.finite = self.finite & finite
