"""Falling snow."""

import torch
from torch import Tensor

from attacks.common.randomness import normal, unit
from augment.corruptions.corruption import Generators, corruption
from augment.corruptions.motion_blur import blur_along
from augment.corruptions.zoom_blur import enlarge_middle

GREY = (0.299, 0.587, 0.114)  # weights of red, green and blue
SnowLevel = tuple[float, float, float, float, int, float, float]


@corruption(
    cifar10_c=(
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ),
    imagenet_c=(
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    ),
)
def snow(x: Tensor, level: SnowLevel, generators: Generators) -> Tensor:
    """Whiten the image, and add flakes in two opposite directions.

    Flakes are what of normal noise of a mean and deviation, enlarged by a zoom, is above a
    threshold, blurred along lines of a radius and deviation that fall within 45 degrees of the
    vertical. Every frame has its own; they fall alike.
    """
    mean, deviation, zoom, threshold, radius, sigma, kept = level
    angles = 90 * unit(x, generators, (1,))[:, 0] - 135  # (B,)
    flakes = mean + deviation * normal(x[:, :, 0], generators)  # (B, T, H, W)
    flakes = enlarge_middle(flakes, zoom)  # (B, T, H or more, W or more)
    flakes = flakes.masked_fill(flakes < threshold, 0).clamp(0, 1)
    flakes = blur_along(flakes, angles, radius=radius, sigma=sigma)
    flakes = flakes[:, :, None, : x.shape[-2], : x.shape[-1]]  # (B, T, 1, H, W)
    white = torch.maximum(x, 1.5 * grey(x) + 0.5)
    return kept * x + (1 - kept) * white + flakes + flakes.rot90(2, (-2, -1))


def grey(x: Tensor) -> Tensor:
    """Return the luma of RGB or grey images (..., C, H, W), (..., 1, H, W)."""
    if x.shape[-3] == 1:
        return x
    return (x * x.new_tensor(GREY)[:, None, None]).sum(-3, keepdim=True)
