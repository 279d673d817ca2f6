"""Noise of a sensor: new in every frame, and in every channel."""

import torch
from torch import Tensor

from attacks.common.randomness import normal, unit
from augment.corruptions.corruption import Generators, corruption


@corruption(cifar10_c=(0.04, 0.06, 0.08, 0.09, 0.10), imagenet_c=(0.08, 0.12, 0.18, 0.26, 0.38))
def gaussian_noise(x: Tensor, deviation: float, generators: Generators) -> Tensor:
    """Add normal noise of a standard deviation."""
    return x + deviation * normal(x, generators)


@corruption(cifar10_c=(500, 250, 100, 75, 50), imagenet_c=(60, 25, 12, 5, 3))
def shot_noise(x: Tensor, photons: int, generators: Generators) -> Tensor:
    """Count Poisson numbers of photons, of which white has so many in the mean.

    They are drawn on the CPU, so that every device sees the same ones.
    """
    rates = (x.clamp(min=0) * photons).cpu()
    counts = [torch.poisson(r, generator=g) for r, g in zip(rates, generators, strict=True)]
    return torch.stack(counts).to(x) / photons


@corruption(cifar10_c=(0.01, 0.02, 0.03, 0.05, 0.07), imagenet_c=(0.03, 0.06, 0.09, 0.17, 0.27))
def impulse_noise(x: Tensor, share: float, generators: Generators) -> Tensor:
    """Replace a share of the values, half of them by 0 and half by 1."""
    u = unit(x, generators, x.shape[1:])  # (B, T, C, H, W)
    return x.masked_fill(u < share / 2, 0).masked_fill(u >= 1 - share / 2, 1)
