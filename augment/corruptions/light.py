"""Too much light, and too little contrast."""

import torch
from torch import Tensor

from augment.corruptions.corruption import Generators, corruption


@corruption(cifar10_c=(0.05, 0.1, 0.15, 0.2, 0.3), imagenet_c=(0.1, 0.2, 0.3, 0.4, 0.5))
def brightness(x: Tensor, amount: float, generators: Generators) -> Tensor:
    """Add to the value of HSV: all channels grow alike until the largest is white."""
    value = x.amax(2, keepdim=True)  # (B, T, 1, H, W)
    brighter = (value + amount).clamp(max=1)
    return torch.where(value > 0, x * (brighter / value.clamp(min=1e-12)), brighter)


@corruption(cifar10_c=(0.75, 0.5, 0.4, 0.3, 0.15), imagenet_c=(0.4, 0.3, 0.2, 0.1, 0.05))
def contrast(x: Tensor, kept: float, generators: Generators) -> Tensor:
    """Keep a share of each value's distance to the mean of its channel and frame."""
    mean = x.mean((-2, -1), keepdim=True)  # (B, T, C, 1, 1)
    return mean + kept * (x - mean)
