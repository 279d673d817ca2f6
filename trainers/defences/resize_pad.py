"""Random resizing and padding."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attacks.common.options import Positive
from trainers.defences.defence import Defence
from trainers.defences.resampling import apply_weights, placed_weights


@dataclass(frozen=True)
class ResizePad(Defence):
    """Resize each sample to a random side, and put it at a random place within zeros.

    Sides are drawn uniformly from `smallest` to `largest` times that of the sample; the result has
    the largest, so it may be another size than the sample. Resizing is bilinear.

    Args:
        smallest: as a multiple of the sample's side.
        largest: likewise, at least `smallest`; the paper takes 299 to 331 pixels.

    Raises:
        ValueError: when the smallest side exceeds the largest.

    Source: Xie et al. 2018, section 3.
    """

    smallest: Positive = 1.0
    largest: Positive = 331 / 299

    random: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the options by themselves, and that they are in order."""
        super().__post_init__()
        if self.smallest > self.largest:
            raise ValueError(
                f"smallest is {self.smallest:g} and largest {self.largest:g}; give a largest side "
                "that is at least the smallest"
            )

    def __call__(self, x: Tensor) -> Tensor:
        """Return resized and padded samples, (B, C, ..., H', W')."""
        share, heights, widths = torch.rand(3, len(x)).unbind()
        rows = placed(x.shape[-2], self.smallest, self.largest, share, heights)
        columns = placed(x.shape[-1], self.smallest, self.largest, share, widths)
        return apply_weights(x, rows, columns)


def placed(n: int, smallest: float, largest: float, share: Tensor, place: Tensor) -> Tensor:
    """Return matrices (B, out, n) for sides and places given by uniform numbers (B,) in [0, 1)."""
    low, high = max(1, round(smallest * n)), max(1, math.ceil(largest * n - 1e-6))
    length = low + (share * (high - low + 1)).long()  # (B,)
    start = (place * (high - length + 1)).long()
    return placed_weights(n, start, length, high)
