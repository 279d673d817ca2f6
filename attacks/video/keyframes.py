"""The choice of frames of a clip, and access to the chosen frames."""

import math
from typing import Literal

import torch
from torch import Tensor

Frames = Literal["gradient", "ifd", "fixed", "all"]
_ROUNDING = 1e-9


def select_by_share(weights: Tensor, b: float) -> Tensor:
    """Select the fewest frames of each clip whose weights sum to a share b of the total.

    Args:
        weights: (B, T). If their sum is negative, the heaviest frame alone is selected.
        b: share, in (0, 1].

    Returns:
        bool (B, T), at least one frame of each clip.

    Source: Xu et al. 2023, section 3 (keyframes by the gradient; b is its boundary).

    >>> select_by_share(torch.tensor([[1.0, 5.0, 4.0], [0.0, 0.0, 0.0]]), 0.6).tolist()
    [[False, True, True], [True, False, False]]
    """
    ordered, order = weights.double().sort(dim=1, descending=True, stable=True)  # (B, T)
    total = ordered.sum(1, keepdim=True)  # (B, 1)
    enough = ordered.cumsum(1) >= b * total - _ROUNDING * total.abs()
    last = enough.int().argmax(1, keepdim=True)  # the first place that is enough; 0 if none is
    places = torch.arange(weights.shape[1], device=weights.device)
    return torch.zeros_like(weights, dtype=torch.bool).scatter(1, order, places <= last)


def select_heaviest(weights: Tensor, count: int) -> Tensor:
    """Select the `count` frames of each clip with the largest weights (B, T), bool (B, T).

    >>> select_heaviest(torch.tensor([[1.0, 5.0, 4.0]]), 1).tolist()
    [[False, True, False]]
    """
    order = weights.argsort(dim=1, descending=True, stable=True)[:, :count]  # (B, count)
    return torch.zeros_like(weights, dtype=torch.bool).scatter(1, order, True)


def frame_differences(x: Tensor) -> Tensor:
    """Return the mean absolute difference of each frame from the frame before, (B, T).

    The first frame takes the difference of the second; a single frame takes 1.

    Source: Xu et al. 2023, section 4 (inter-frame difference).
    """
    steps = x.diff(dim=2).abs().mean((1, 3, 4))  # (B, T-1)
    if not steps.shape[1]:
        return x.new_ones(len(x), 1)
    return torch.cat([steps[:, :1], steps], 1)  # (B, T)


def fixed_frames(text: str, frames: int, count: int) -> list[int]:
    """Return the numbers of the frames that `text` names.

    Args:
        text: "first", "uniform" or numbers from 0 joined by +.
        frames: T, frames of the clip.
        count: number of frames of "first" and "uniform".

    Raises:
        ValueError: for a frame that the clip does not have.

    >>> fixed_frames("first", 16, 3), fixed_frames("uniform", 16, 4), fixed_frames("0+3", 16, 1)
    ([0, 1, 2], [0, 4, 8, 12], [0, 3])
    """
    if text == "first":
        return list(range(count))
    if text == "uniform":
        return [i * frames // count for i in range(count)]
    chosen = parse_frames(text)
    if max(chosen) >= frames:
        raise ValueError(f"fixed={text} names frame {max(chosen)} of clips with {frames} frames")
    return chosen


def parse_frames(text: str) -> list[int]:
    """Parse frame numbers joined by +, such as "0+3+7"; return them sorted.

    Raises:
        ValueError: for any other text.
    """
    parts = text.split("+")
    if not all(part.isdecimal() for part in parts):
        raise ValueError(f"fixed is {text!r}; give first, uniform, or frames from 0 as in 0+3+7")
    return sorted({int(part) for part in parts})


def check_count(count: int | None, frames: int, *, targeted: bool) -> int:
    """Return the number of frames to choose from clips of `frames` frames.

    None takes a quarter of them, or 5 of 16 with a target, as the sparse attack does.

    Raises:
        ValueError: when `count` exceeds `frames`.

    >>> check_count(None, 16, targeted=False), check_count(None, 16, targeted=True)
    (4, 5)
    """
    if count is None:
        return math.ceil(frames * (5 if targeted else 4) / 16)
    if count > frames:
        raise ValueError(f"count is {count} and the clips have {frames} frames; give fewer")
    return count


def take_frames(x: Tensor, index: Tensor) -> Tensor:
    """Return the frames of x (B, C, T, H, W) with numbers index (B, K), (B, K, C, H, W)."""
    return x[torch.arange(len(x), device=x.device)[:, None], :, index]


def replace_frames(x: Tensor, index: Tensor, frames: Tensor) -> Tensor:
    """Return a copy of x (B, C, T, H, W) whose frames index (B, K) are `frames` (B, K, C, H, W)."""
    x = x.clone()
    x[torch.arange(len(x), device=x.device)[:, None], :, index] = frames
    return x
