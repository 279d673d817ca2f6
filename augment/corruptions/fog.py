"""Fog, by the diamond-square algorithm."""

from torch import Tensor

from attacks.common.randomness import uniform
from augment.corruptions.corruption import Generators, corruption


@corruption(
    cifar10_c=((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
    imagenet_c=((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
)
def fog(x: Tensor, level: tuple[float, float], generators: Generators) -> Tensor:
    """Add so much of a plasma fractal, and scale to the brightest value that was there.

    The fog stands still in a clip.
    """
    amount, decay = level
    height, width = x.shape[-2:]
    side = 1 << (max(height, width, 3) - 1).bit_length()  # the next power of two
    haze = plasma_fractal(x, generators, side, decay)[:, None, None, :height, :width]
    brightest = x.amax((2, 3, 4), keepdim=True)  # (B, T, 1, 1, 1)
    return (x + amount * haze) * brightest / (brightest + amount)


def plasma_fractal(x: Tensor, generators: Generators, side: int, decay: float) -> Tensor:
    """Return height maps of x's kind that are periodic, (B, side, side) from 0 to 1.

    Args:
        x: Any batch (B, ...).
        generators: Of its samples.
        side: A power of two, at least 2.
        decay: By how much jumps get smaller from one scale to the next of half its size.

    Source: Fournier, Fussell and Carpenter 1982.
    """
    heights = x.new_zeros(len(x), side, side)
    step, jump = side, 100.0

    def jittered(total: Tensor) -> Tensor:
        """Return the means of four neighbours, (B, n, n), moved at random."""
        return total / 4 + jump**2 * uniform(total, generators)

    while step >= 2:
        half = step // 2
        corners = heights[:, ::step, ::step]  # (B, n, n) with n = side / step
        pairs = corners + corners.roll(-1, 1)
        heights[:, half::step, half::step] = jittered(pairs + pairs.roll(-1, 2))
        centres = heights[:, half::step, half::step]
        beside = centres + centres.roll(1, 1) + corners + corners.roll(-1, 2)
        heights[:, ::step, half::step] = jittered(beside)
        above = centres + centres.roll(1, 2) + corners + corners.roll(-1, 1)
        heights[:, half::step, ::step] = jittered(above)
        step, jump = half, jump / decay
    heights = heights - heights.amin((1, 2), keepdim=True)
    return heights / heights.amax((1, 2), keepdim=True)
