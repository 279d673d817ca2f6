"""The basic iterative method."""

from dataclasses import dataclass

from attacks.gradient.projected_ascent import ProjectedAscent


@dataclass(frozen=True)
class BIM(ProjectedAscent):
    """Equal steps along the gradient's sign, from x itself, each projected to the ball.

    Source: Kurakin et al. 2017, "Adversarial examples in the physical world", section 2.2.
    """
