"""Gaussian blur."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from attacks.common.options import Positive
from trainers.defences.defence import Defence, from_frames, to_frames

_REACH = 4.0  # standard deviations at which the kernel ends


@dataclass(frozen=True)
class GaussianBlur(Defence):
    """Convolve with a Gaussian; beyond the border its values repeat.

    Args:
        sigma: standard deviation in pixels.
    """

    sigma: Positive = 0.7

    def __call__(self, x: Tensor) -> Tensor:
        """Return blurred samples."""
        half, frames = int(_REACH * self.sigma + 0.5), to_frames(x)
        offsets = torch.arange(-half, half + 1, dtype=x.dtype, device=x.device)
        kernel = torch.softmax(-(offsets**2) / (2 * self.sigma**2), 0)  # (n,)
        lines = F.pad(frames, [half] * 4, mode="replicate")
        lines = (lines.unfold(3, len(kernel), 1) * kernel).sum(-1)  # (B, C, H + n - 1, W)
        return from_frames((lines.unfold(2, len(kernel), 1) * kernel).sum(-1), x)
