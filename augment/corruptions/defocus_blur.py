"""The blur of a lens that is out of focus."""

import torch
from torch import Tensor

from augment.corruptions.corruption import Generators, corruption
from augment.corruptions.filters import correlate, gaussian_kernel


@corruption(
    cifar10_c=((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
    imagenet_c=((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
)
def defocus_blur(x: Tensor, level: tuple[float, float], generators: Generators) -> Tensor:
    """Average over a disk of a radius in pixels, its edge blurred by a standard deviation."""
    return correlate(x, disk(*level), "mirror")


def disk(radius: float, deviation: float) -> Tensor:
    """Return a disk of sum 1, blurred over 3 x 3 pixels, or 5 x 5 where it is above 8 wide."""
    reach, blur = (8, 1) if radius <= 8 else (int(radius), 2)
    steps = torch.arange(-reach, reach + 1, dtype=torch.float64)
    inside = (steps[:, None] ** 2 + steps**2 <= radius**2).double()  # (k, k)
    kernel = gaussian_kernel(deviation, blur)
    return correlate(inside[None] / inside.sum(), kernel[:, None] * kernel, "mirror")[0]
