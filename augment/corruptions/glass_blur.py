"""The blur of frosted glass."""

import torch
from torch import Tensor

from attacks.common.randomness import unit
from augment.corruptions.corruption import Generators, corruption
from augment.corruptions.filters import gaussian_blur


@corruption(
    cifar10_c=((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    imagenet_c=((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
)
def glass_blur(x: Tensor, level: tuple[float, int, int], generators: Generators) -> Tensor:
    """Blur by a Gaussian, let pixels take the value of a near one, several times, and blur again.

    All frames of a clip are seen through the same glass.
    """
    sigma, reach, times = level
    batch, frames, channels, height, width = x.shape
    out = gaussian_blur(x, (sigma, sigma)).flatten(-2)  # (B, T, C, H * W)
    for _ in range(times):
        inner = (2, max(height - 2 * reach, 0), max(width - 2 * reach, 0))
        steps = (unit(x, generators, inner) * 2 * reach).long() - reach  # (B, 2, h, w)
        source = displaced(steps, reach, height, width)[:, None, None]  # (B, 1, 1, H * W)
        out = out.gather(-1, source.expand(batch, frames, channels, -1))
    return gaussian_blur(out.reshape(x.shape), (sigma, sigma))


def displaced(steps: Tensor, reach: int, height: int, width: int) -> Tensor:
    """Return from which pixel each one comes when they are visited from the last to the first.

    A pixel takes the value that its neighbour has by then, which is the neighbour's new one where
    that was visited before: chains of these are followed to their ends.

    Args:
        steps: (B, 2, H - 2 reach, W - 2 reach) int64, from -reach to reach - 1: how far across
            and down the neighbour is of each pixel from (reach + 1, reach + 1) on.
        reach: Pixels at the edges that stay: so many at the far ones, one more at the near ones.
        height: H.
        width: W.

    Returns:
        (B, H * W) int64.

    Source: `glass_blur` of the benchmarks' code, whose swap of two pixels is one copy.
    """
    across, down = steps[:, 0], steps[:, 1]
    own = torch.arange(height * width, device=steps.device).expand(len(steps), -1)  # (B, H * W)
    taken = own.reshape(-1, height, width).clone()
    inner = (slice(None), slice(reach + 1, height - reach + 1), slice(reach + 1, width - reach + 1))
    taken[inner] += down * width + across
    source = taken.flatten(1)
    following = torch.where(source > own, source, own)  # the neighbour, if it was visited before
    visited = source.new_zeros(height, width, dtype=torch.bool)
    visited[inner[1:]] = True
    following = torch.where(visited.flatten()[following], following, own)
    while True:
        further = following.gather(1, following)
        if torch.equal(further, following):
            return source.gather(1, following)
        following = further
