"""Projected gradient descent."""

from dataclasses import dataclass
from typing import ClassVar

from attacks.common.options import Count
from attacks.gradient.projected_ascent import ProjectedAscent


@dataclass(frozen=True)
class PGD(ProjectedAscent):
    """Steps along the gradient, each projected to the ball, from random points of the ball.

    Args:
        step_size: in pixel units; None takes 2.5 * eps / steps, enough to cross the ball.
        restarts: independent starts; the worst case of each sample is kept.
        random_start: begin uniformly in the ball instead of at x.

    Source: Madry et al. 2018, eq. (2) and section 5.1.
    """

    restarts: Count = 1
    random_start: bool = True

    default_step_scale: ClassVar[float] = 2.5
    draws: ClassVar[bool] = True
