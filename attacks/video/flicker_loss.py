"""What flickering attacks of every scope minimise."""

import math
from dataclasses import dataclass

from torch import Tensor

from attacks.common.goal import Goal
from attacks.common.options import check_kinds
from attacks.video.bounded_margin import Space, bounded_margin, check_space
from attacks.video.flicker_pattern import cost_and_slope

_LAST = 0.05  # share of the learning rate that the last steps have


@dataclass(frozen=True)
class FlickerLoss:
    """A pattern's visibility, weighted, plus the bounded margin loss of what it is added to.

    The objective is lam * (beta1 * D1 + beta2 * D2) + the loss, see `cost_and_slope` and
    `bounded_margin`. D1 and D2 are taken of patterns in the paper's units, twice ours, so that
    all weights mean the same as there.

    Args:
        lr: of Adam at first, in pixel units; it falls off along half a cosine. The paper's is
            constant, 1e-3 of the range [-1, 1], which is 5e-4 here.
        lam: weight of what is visible against the loss.
        beta1: weight of the thickness D1, a mean square.
        beta2: weight of the roughness D2, of first and second differences between frames.
        margin: the lead that the wrong class, or the target, is to have, in scores.
        space: "prob" or "logit", see `bounded_margin`.

    Source: Naeh et al. 2020, eq. (1).
    """

    lr: float = 5e-3
    lam: float = 1.0
    beta1: float = 0.5
    beta2: float = 0.5
    margin: float = 0.05
    space: Space = "logit"

    def __post_init__(self) -> None:
        """Refuse impossible options at once."""
        check_kinds(self)
        check_space(self.space)
        if not 0 < self.lr < math.inf or not 0 < self.margin < 1:
            raise ValueError(f"lr={self.lr}, margin={self.margin}; give lr > 0, margin in (0, 1)")
        for name in ("lam", "beta1", "beta2"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; give a finite number >= 0")

    def rate(self, share: float) -> float:
        """Return the learning rate when a share of the steps, in [0, 1), is done."""
        return self.lr * (_LAST + (1 - _LAST) * (1 + math.cos(math.pi * share)) / 2)

    def miss(self, logits: Tensor, goal: Goal) -> Tensor:
        """Return the bounded margin loss of logits (B, K), (B,)."""
        return bounded_margin(logits, goal, space=self.space, margin=self.margin)

    def visible(self, pattern: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is visible of patterns (B, C, T, 1, 1), weighted, (B,), and its gradient."""
        cost, slope = cost_and_slope(pattern, beta1=self.beta1, beta2=self.beta2)
        return self.lam * cost, self.lam * slope
