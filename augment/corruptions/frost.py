"""Frost on the lens or the window, drawn from noise: needles of ice in patches of one direction."""

import math

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from attacks.common.randomness import unit
from augment.corruptions.corruption import Generators, corruption
from augment.corruptions.snow import grey

# Mean and standard deviation of red, green and blue in crops of the pictures that the benchmarks
# blend in: one of five is drawn.
LOOKS = (
    ((0.305, 0.583, 0.648), (0.091, 0.054, 0.051)),
    ((0.775, 0.792, 0.828), (0.073, 0.075, 0.078)),
    ((0.775, 0.792, 0.829), (0.074, 0.076, 0.079)),
    ((0.565, 0.622, 0.673), (0.100, 0.100, 0.105)),
    ((0.400, 0.444, 0.490), (0.145, 0.143, 0.140)),
)
DIRECTIONS = 6  # of needles
# How steeply the amplitudes fall, as f ** -slope, and about how many pixels it is from one
# direction to the next: of the pictures shrunk to a fifth, and as they are.
FINE, COARSE = (0.6, 8), (0.85, 32)
NARROW = 0.25  # standard deviation of the directions of a needle's frequencies, in radians


@corruption(
    cifar10_c=tuple(
        (k, a, *FINE) for k, a in ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))
    ),
    imagenet_c=tuple(
        (k, a, *COARSE) for k, a in ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))
    ),
)
def frost(x: Tensor, level: tuple[float, float, float, int], generators: Generators) -> Tensor:
    """Add shares of the image and of frost.

    The benchmarks blend in photographs; these are not ours to give away. The frost here has their
    colours and contrast. It stands still in a clip.
    """
    kept, added, slope, patch = level
    needles = ice(x, generators, slope=slope, patch=patch)[:, None]  # (B, 1, H, W)
    look = (unit(x, generators, (1,))[:, 0] * len(LOOKS)).long()  # (B,)
    mean, deviation = x.new_tensor(LOOKS)[look].unbind(1)  # (B, 3)
    colours = mean[..., None, None] + deviation[..., None, None] * needles  # (B, 3, H, W)
    colours = colours.clamp(0, 1)
    return kept * x + added * (grey(colours) if x.shape[2] == 1 else colours)[:, None]


def ice(x: Tensor, generators: Generators, *, slope: float, patch: int) -> Tensor:
    """Return needles for x (B, ..., H, W), (B, H, W) of mean 0 and deviation 1.

    One noise is filtered to needles of each direction; where a coarse noise of each direction is
    the largest of all, its needles are seen.
    """
    height, width = x.shape[-2:]
    noise = torch.fft.rfft2(unit(x, generators, (height, width)) - 0.5)
    down = torch.fft.fftfreq(height)[:, None]  # (H, 1) cycles a pixel
    across = torch.fft.rfftfreq(width)  # (W // 2 + 1,)
    size = (down**2 + across**2).sqrt().clamp(min=1 / max(height, width))
    direction = torch.atan2(down, across)
    coarse = (DIRECTIONS, -(-height // patch) + 1, -(-width // patch) + 1)
    patches = unit(x, generators, coarse)  # (B, DIRECTIONS, h, w)
    patches = interpolate(patches, (height, width), mode="bilinear", align_corners=True)
    out = x.new_zeros(len(x), height, width)
    largest = torch.zeros_like(out)
    for i in range(DIRECTIONS):
        off = (direction - math.pi * i / DIRECTIONS + math.pi / 2) % math.pi - math.pi / 2
        band = torch.exp(-0.5 * (off / NARROW) ** 2) * size**-slope
        needles = torch.fft.irfft2(noise * band.to(x.device), (height, width))
        out = torch.where(patches[:, i] > largest, needles, out)
        largest = torch.maximum(patches[:, i], largest)
    out = out - out.mean((1, 2), keepdim=True)
    return out / out.std((1, 2), keepdim=True, correction=0).clamp(min=1e-12)
