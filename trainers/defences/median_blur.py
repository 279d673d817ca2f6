"""Medians of neighbouring values."""

from dataclasses import dataclass
from typing import Annotated

import torch.nn.functional as F
from torch import Tensor

from attacks.common.options import Bound
from trainers.defences.defence import Defence, from_frames, to_frames


@dataclass(frozen=True)
class MedianBlur(Defence):
    """Replace each value by the median of a square around it; beyond the border its values repeat.

    Args:
        size: side of the square in pixels, odd.

    Source: Xu, Evans & Qi 2018 (feature squeezing), section III-B (local smoothing).
    """

    size: Annotated[int, Bound(lambda n: n % 2 == 1 and 1 <= n <= 99, "odd, from 1 to 99")] = 3

    def __call__(self, x: Tensor) -> Tensor:
        """Return blurred samples; the gradient is that of the values that are the medians."""
        frames, half = to_frames(x), self.size // 2
        padded = F.pad(frames, [half] * 4, mode="replicate")
        squares = padded.unfold(2, self.size, 1).unfold(3, self.size, 1)  # (B, C, H, W, n, n)
        return from_frames(squares.flatten(-2).median(-1).values, x)  # (B, C, H, W)
