"""A random affine map, and random displacements that vary smoothly."""

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, pad

from attacks.common.randomness import uniform, unit
from augment.corruptions.corruption import Generators, corruption
from augment.corruptions.filters import gaussian_blur


@corruption(
    cifar10_c=(
        (0.08, 0, 0),
        (0.07, 0.05, 0.2),
        (0.06, 0.08, 0.06),
        (0.05, 0.1, 0.04),
        (0.03, 0.1, 0.03),
    ),
    imagenet_c=(
        (0, 0.0625, 0.01),
        (0, 0.08125, 0.01),
        (0, 0.10625, 0.01),
        (0, 0.125, 0.01),
        (0, 0.15, 0.01),
    ),
)
def elastic_transform(
    x: Tensor, level: tuple[float, float, float], generators: Generators
) -> Tensor:
    """Move three points at random, the image with them; then displace pixels by blurred noise.

    The level is how far the points move at most, as a share of the image's shorter side; the
    largest noise, as a share of its height; and the blur's standard deviation, of height and width.
    All frames of a clip are changed alike.
    """
    corners, amplitude, sigma = level
    height, width = x.shape[-2:]
    planes = x.flatten(1, 2)  # (B, T * C, H, W)
    if corners:
        planes = _affine(planes, corners * min(height, width), generators)
    if amplitude:
        noise = uniform(x[:, :1, 0].expand(-1, 2, -1, -1), generators)  # (B, 2, H, W)
        sigmas = (sigma * height, sigma * width)
        steps = gaussian_blur(noise, sigmas, truncate=3, border="reflect") * amplitude * height
        places = _places(x) + steps.movedim(1, -1)  # (B, H, W, 2)
        planes = _resample(planes, places, inner_edges=False)
    return planes.reshape(x.shape)


def _places(x: Tensor) -> Tensor:
    """Return the places across and down of the pixels of x (..., H, W), (H, W, 2)."""
    height, width = x.shape[-2:]
    down, across = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([across, down], -1).to(x)


def _affine(x: Tensor, reach: float, generators: Generators) -> Tensor:
    """Map images (B, C, H, W) as three points around the centre move by up to reach pixels."""
    height, width = x.shape[-2:]
    side = min(height, width) // 3
    signs = torch.tensor([[1, 1], [1, -1], [-1, -1]], dtype=torch.float64)
    middle = torch.tensor([height // 2, width // 2], dtype=torch.float64)
    before = middle + max(side, 1) * signs  # (3, 2)
    moves = (2 * unit(middle, generators, (3, 2)) - 1) * reach  # (B, 3, 2)
    after = pad(before + moves, (0, 1), value=1)  # (B, 3, 3) homogeneous
    inverse = torch.linalg.solve(after, before.expand(len(x), 3, 2)).to(x)  # (B, 3, 2)
    places = pad(_places(x), (0, 1), value=1).flatten(0, 1)  # (H * W, 3)
    source = (places @ inverse).reshape(len(x), height, width, 2)
    return _resample(x, source, inner_edges=True)


def _resample(x: Tensor, places: Tensor, *, inner_edges: bool) -> Tensor:
    """Read images (B, C, H, W) bilinearly at places (B, H, W, 2) across and down, in pixels.

    Beyond the edges they are mirrored: at the middle of the last pixels, or at their outer edges.
    """
    sizes = places.new_tensor([x.shape[-1], x.shape[-2]])
    grid = (
        2 * places / (sizes - 1).clamp(min=1) - 1 if inner_edges else (2 * places + 1) / sizes - 1
    )
    return grid_sample(
        x, grid, mode="bilinear", padding_mode="reflection", align_corners=inner_edges
    )
