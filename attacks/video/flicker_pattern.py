"""Patterns of flicker: one value for each channel of each frame, and how visible they are."""

import torch
from torch import Tensor

# Of the paper's range of pixels, [-1, 1], over ours. Its weights keep their meaning: what they
# weigh is taken in its units.
SPAN = 2.0


def add_pattern(x: Tensor, pattern: Tensor) -> tuple[Tensor, Tensor]:
    """Add a pattern (B, C, T, 1, 1) to x (B, C, T, H, W), and tell which pixels pass it on.

    All do but those that are cut off at 0 or 1. One that has just come there follows: torch's
    clamp gives it no gradient, and a black pixel would never move.

    Returns:
        Clips in [0, 1], and bool, both like x.
    """
    moved = x + pattern
    x_adv = moved.clamp(0, 1)
    return x_adv, moved == x_adv


def shift_pattern(pattern: Tensor, shifts: Tensor) -> Tensor:
    """Return a pattern for each shift, moved to later frames by that many, cyclically.

    Args:
        pattern: (B, C, T, 1, 1), or one for all, (1, C, T, 1, 1).
        shifts: frames, int64 (B,); negative moves to earlier ones.

    >>> shift_pattern(torch.arange(3.0).reshape(1, 1, 3, 1, 1), torch.tensor([1])).flatten()
    tensor([2., 0., 1.])
    """
    channels, frames = pattern.shape[1:3]
    places = (torch.arange(frames, device=shifts.device) - shifts[:, None]) % frames  # (B, T)
    index = places[:, None, :, None, None].expand(-1, channels, -1, 1, 1)  # (B, C, T, 1, 1)
    return pattern.expand(len(shifts), -1, -1, -1, -1).gather(2, index)


def cost_and_slope(pattern: Tensor, *, beta1: float, beta2: float) -> tuple[Tensor, Tensor]:
    """Return beta1 * D1 + beta2 * D2 of each pattern, (B,), and its gradient, like the pattern.

    D1, the thickness, is the mean square of the values. D2, the roughness, is that of the first
    differences between frames, and of the second ones, where the first frame follows the last.

    Args:
        pattern: (B, C, T, 1, 1) in pixel units.
        beta1: weight of the thickness.
        beta2: weight of the roughness.

    Source: Naeh et al. 2020, section 3; D2 is eq. (5).
    """
    # Both are quadratic forms <p, A p>: A of the first differences is -L, of the second L L.
    curved = _curvature(pattern)
    half = beta1 * pattern + beta2 * (_curvature(curved) - curved)
    half = half * (SPAN**2 / pattern[0].numel())
    return (pattern * half).flatten(1).sum(1), 2 * half


def _curvature(pattern: Tensor) -> Tensor:
    """Return the second difference at each frame, like the pattern (B, C, T, 1, 1)."""
    return pattern.roll(1, 2) + pattern.roll(-1, 2) - 2 * pattern


def thickness(delta: Tensor) -> Tensor:
    """Return how thick changes (B, C, T, ...) are: their mean size in % of full scale, (B,).

    >>> thickness(torch.full((1, 3, 4, 1, 1), -0.25))
    tensor([25.])
    """
    return 100 * delta.abs().flatten(1).mean(1)


def roughness(delta: Tensor) -> Tensor:
    """Return how much changes (B, C, T, ...) differ from frame to frame, in %, (B,).

    It is the mean size of the differences, the last frame's to the first among them. The paper
    prints a square there; its values, in percent, are without one.
    """
    return thickness(delta.roll(1, 2) - delta)


def visibility(pattern: Tensor, delta: Tensor) -> dict[str, Tensor]:
    """Return thickness and roughness, as planned and as it came out, all (B,) in %.

    Args:
        pattern: (B, C, T, 1, 1).
        delta: what became of it in [0, 1], (B, C, T, H, W).
    """
    return {
        "thickness": thickness(pattern),
        "roughness": roughness(pattern),
        "thickness_clipped": thickness(delta),
        "roughness_clipped": roughness(delta),
    }
