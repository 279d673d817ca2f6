"""The momentum iterative fast gradient sign method."""

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.attack import lengths
from attacks.common.options import NonNegative
from attacks.common.threat import column
from attacks.gradient.projected_ascent import ProjectedAscent


@dataclass(frozen=True)
class MIFGSM(ProjectedAscent):
    """Steps along a running sum of gradients, each gradient scaled to an l1 length of 1.

    Args:
        decay: what is kept of the sum at each step, at least 0; 0 keeps nothing and makes it BIM.

    Source: Dong et al. 2018, algorithm 1.
    """

    decay: NonNegative = 1.0

    def direction(self, gradient: Tensor, previous: Tensor) -> Tensor:
        """Return decay * previous + gradient / ||gradient||_1, (A, ...)."""
        gradient = gradient.nan_to_num(0, 0, 0)
        size = column(lengths(gradient, "l1"), gradient)
        return self.decay * previous + gradient / size.clamp_min(torch.finfo(size.dtype).tiny)
