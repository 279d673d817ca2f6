"""Projected gradient descent."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attacks.common.threat import Threat
from attacks.gradient.projected_ascent import Climb


@dataclass(frozen=True)
class PGD(Climb):
    """Steps along the gradient, each projected to the ball, from random points of the ball.

    Args:
        step_size: in pixel units; None takes 2.5 * eps / steps, enough to cross the ball.
        restarts: independent starts; the worst case of each sample is kept.
        random_start: begin uniformly in the ball instead of at x.
        **others: see `Climb`.

    Source: Madry et al. 2018, eq. (2) and section 5.1.
    """

    restarts: int = 1
    random_start: bool = True

    reach: ClassVar[float] = 2.5

    def __post_init__(self) -> None:
        """Refuse impossible options at once."""
        super().__post_init__()
        if self.restarts < 1:
            raise ValueError(f"restarts={self.restarts}; give at least 1")

    @property
    def starts(self) -> int:
        """How often to climb."""
        return self.restarts

    def _start(self, threat: Threat, generators: Sequence[torch.Generator]) -> Tensor:
        """Draw a point of the ball, or take x."""
        return threat.random_start(generators) if self.random_start else threat.x
