"""Flickering patterns: one value for each channel of each frame, and their visibility."""

import torch
from torch import Tensor

# Width of the paper's pixel range [-1, 1] over the width of ours: the weights of D1 and D2 apply to
# the paper's units.
SPAN = 2.0


def add_pattern(x: Tensor, pattern: Tensor) -> tuple[Tensor, Tensor]:
    """Add patterns to clips, clamp to [0, 1], and mask the pixels that pass a gradient on.

    A pixel passes the gradient on unless the clamp changes it. One that lands on 0 or 1 exactly
    passes it on too: torch's clamp would stop it there, and a black pixel would never change.

    Args:
        x: clips (B, C, T, H, W) in [0, 1].
        pattern: (B, C, T, 1, 1), or (1, C, T, 1, 1) for all clips.

    Returns:
        Clips like x in [0, 1], and the mask, bool like x.
    """
    moved = x + pattern
    x_adv = moved.clamp(0, 1)
    return x_adv, moved == x_adv


def shift_pattern(pattern: Tensor, shifts: Tensor) -> Tensor:
    """Shift patterns in time, cyclically.

    Args:
        pattern: (B, C, T, 1, 1), or (1, C, T, 1, 1) for all shifts.
        shifts: number of frames, int64 (B,); positive shifts to later frames.

    Returns:
        The shifted patterns, (B, C, T, 1, 1).

    >>> shift_pattern(torch.arange(3.0).reshape(1, 1, 3, 1, 1), torch.tensor([1])).flatten()
    tensor([2., 0., 1.])
    """
    channels, frames = pattern.shape[1:3]
    places = (torch.arange(frames, device=shifts.device) - shifts[:, None]) % frames  # (B, T)
    index = places[:, None, :, None, None].expand(-1, channels, -1, 1, 1)  # (B, C, T, 1, 1)
    return pattern.expand(len(shifts), -1, -1, -1, -1).gather(2, index)


def cost_and_slope(pattern: Tensor, *, beta1: float, beta2: float) -> tuple[Tensor, Tensor]:
    """Return beta1 * D1 + beta2 * D2 of each pattern, and its gradient.

    D1, the thickness, is the mean square of the values. D2, the roughness, is the mean square of
    the first differences between frames plus that of the second ones; the first frame follows the
    last.

    Args:
        pattern: (B, C, T, 1, 1) in pixel units.
        beta1: weight of the thickness.
        beta2: weight of the roughness.

    Returns:
        The cost (B,), and its gradient, like the pattern.

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
    """Return the mean absolute value of changes (B, C, T, ...), in % of full scale, (B,).

    >>> thickness(torch.full((1, 3, 4, 1, 1), -0.25))
    tensor([25.])
    """
    return 100 * delta.abs().flatten(1).mean(1)


def roughness(delta: Tensor) -> Tensor:
    """Return the mean absolute difference of changes (B, C, T, ...) between frames, in %, (B,).

    The first frame follows the last. The paper's formula squares the difference; its reported
    values, in percent, do not.
    """
    return thickness(delta.roll(1, 2) - delta)


def visibility(pattern: Tensor, delta: Tensor) -> dict[str, Tensor]:
    """Return thickness and roughness of patterns and of clipped perturbations, all (B,) in %.

    Args:
        pattern: (B, C, T, 1, 1).
        delta: x_adv - x, (B, C, T, H, W).
    """
    return {
        "thickness": thickness(pattern),
        "roughness": roughness(pattern),
        "thickness_clipped": thickness(delta),
        "roughness_clipped": roughness(delta),
    }
