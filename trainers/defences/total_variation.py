"""Total variation minimisation."""

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.common.options import Count, Positive
from trainers.defences.defence import Defence, from_frames, to_frames

_STEP = 0.25  # of the dual ascent, at which it converges in two dimensions


@dataclass(frozen=True)
class TotalVariation(Defence):
    """Minimise |z - x|^2 / 2 + weight * TV(z) over z, for each channel of an image by itself.

    TV is the sum of the lengths of the gradients, taken by forward differences.

    Args:
        weight: of the total variation; more is smoother.
        steps: of the dual ascent.

    Source: Rudin, Osher & Fatemi 1992; Chambolle 2004, eq. (9). As a defence, on images of which
    random pixels are left out: Guo et al. 2018, section 3.
    """

    weight: Positive = 0.05
    steps: Count = 30

    def __call__(self, x: Tensor) -> Tensor:
        """Return smoothed samples; gradients go through all steps."""
        image = to_frames(x)
        dual = image.new_zeros(2, *image.shape)  # one along H, one along W
        for _ in range(self.steps):
            slope = gradient(image + divergence(dual))
            length = torch.linalg.vector_norm(slope, dim=0)
            dual = (dual - _STEP * slope) / (1 + _STEP / self.weight * length)
        return from_frames((image + divergence(dual)).clamp(0, 1), x)


def gradient(z: Tensor) -> Tensor:
    """Return forward differences of z (..., H, W) along H and W, (2, ..., H, W); 0 at the end."""
    down, right = torch.zeros_like(z), torch.zeros_like(z)
    down[..., :-1, :], right[..., :-1] = z.diff(dim=-2), z.diff(dim=-1)
    return torch.stack([down, right])


def divergence(p: Tensor) -> Tensor:
    """Return the adjoint of `gradient` applied to -p (2, ..., H, W), negated: (..., H, W)."""
    down, right = p
    out: Tensor = -down - right
    out[..., 1:, :] += down[..., :-1, :]
    out[..., 1:] += right[..., :-1]
    return out
