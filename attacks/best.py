"""The best iterate of each sample so far."""

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.goal import Goal
from attacks.threat import column


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
        finite = torch.isfinite(logits).all(1)
        value = value.masked_fill(~finite, torch.nan)
        self.merge(Best(x_adv, value, goal.met(logits), finite), keep_first=keep_first)

    def merge(self, other: "Best", *, keep_first: bool = False) -> None:
        """Take over the samples whose best is better in `other`; see `update`."""
        higher = ~(other.value <= self.value)  # than NaN, too
        equal = other.success == self.success
        better = ~other.value.isnan() & ((other.success & ~self.success) | (equal & higher))
        finite = other.finite
        if keep_first:
            better, finite = better & ~self.success, finite | self.success
        mask = column(better, self.x_adv)
        self.x_adv = torch.where(mask, other.x_adv, self.x_adv)
        self.value = torch.where(better, other.value, self.value)
        self.success = self.success | other.success
        self.finite = self.finite & finite
