"""The Gaussian blur behind which explanations hide what is not to be seen."""

from math import ceil

import torch
from torch import Tensor


def gaussian_blur(x: Tensor, *, sigma: float) -> Tensor:
    """Return samples (B, C, ..., H, W) blurred along H and W, with their edges repeated beyond.

    Args:
        x: the samples.
        sigma: standard deviation in pixels.
    """
    reach = ceil(3 * sigma)
    offsets = torch.arange(-reach, reach + 1, device=x.device)
    weights = torch.exp(-((offsets / sigma) ** 2) / 2)
    weights = (weights / weights.sum()).to(x)
    for axis in (-2, -1):
        side = x.shape[axis]
        pixels = torch.arange(side, device=x.device)[:, None]
        sources = (pixels + offsets).clamp(0, side - 1)  # (side, offsets)
        matrix = x.new_zeros(side, side).scatter_add_(1, sources, weights.expand(side, -1))
        x = (x.movedim(axis, -1) @ matrix.T).movedim(-1, axis)
    return x
