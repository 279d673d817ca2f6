"""The blur of a camera that moves."""

import math

import torch
from torch import Tensor

from attacks.common.randomness import unit
from augment.corruptions.corruption import Generators, corruption
from augment.corruptions.filters import pad


@corruption(
    cifar10_c=((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
    imagenet_c=((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
)
def motion_blur(x: Tensor, level: tuple[int, float], generators: Generators) -> Tensor:
    """Blur along a direction within 45 degrees of the horizontal, the same in a clip's frames."""
    angles = 90 * unit(x, generators, (1,))[:, 0] - 45  # (B,)
    return blur_along(x, angles, radius=level[0], sigma=level[1])


def blur_along(x: Tensor, angles: Tensor, *, radius: int, sigma: float) -> Tensor:
    """Average each pixel with those on one side of it along a line, by half a Gaussian.

    Args:
        x: (B, ..., H, W); beyond its edges it goes on as there.
        angles: (B,) of the lines in degrees, from the horizontal downwards.
        radius: Half of the length of the lines, in pixels.
        sigma: Standard deviation of the Gaussian, in pixels.

    Returns:
        A new batch like x.

    Source: ImageMagick's MotionBlurImage, which the benchmarks' code calls.
    """
    height, width = x.shape[-2:]
    steps = torch.arange(2 * radius + 1, dtype=torch.float64)  # (k,)
    gaussian = torch.exp(-0.5 * (steps / sigma) ** 2)
    weights = (gaussian / gaussian.sum()).tolist()
    reach = 2 * radius
    padded = pad(x, reach, reach, "nearest")
    out = torch.zeros_like(x)
    for row, angle in enumerate(angles.tolist()):
        for weight, step in zip(weights, steps.tolist(), strict=True):
            down = math.ceil(step * math.sin(math.radians(angle)) - 0.5) + reach
            across = math.ceil(step * math.cos(math.radians(angle)) - 0.5) + reach
            seen = padded[row, ..., down : down + height, across : across + width]
            out[row].add_(seen, alpha=weight)
    return out
