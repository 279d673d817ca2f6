"""Random crops whose answers are averaged."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attacks.common.options import Count, Share
from trainers.defences.defence import Defence
from trainers.defences.resampling import apply_weights, line_weights


@dataclass(frozen=True)
class CropEnsemble(Defence):
    """Cut out a random box and resize it to the sample's size; average over several boxes.

    In training each sample is one box of itself. Resizing is bilinear.

    Args:
        crops: boxes of a sample over which a classifier's probabilities are averaged.
        side: of a box, as a share of the sample's; the paper takes 90 of 224 pixels.

    Source: Guo et al. 2018, section 3 (image cropping and rescaling).
    """

    crops: Count = 30
    side: Share = 0.75

    random: ClassVar[bool] = True

    @property
    def draws(self) -> int:
        """Over how many boxes a classifier's answer is averaged."""
        return self.crops

    def __call__(self, x: Tensor) -> Tensor:
        """Return one resized box of each sample, like x."""
        heights, widths = torch.rand(2, len(x)).unbind()
        rows, columns = (
            cropped(n, self.side, place)
            for n, place in zip(x.shape[-2:], (heights, widths), strict=True)
        )
        return apply_weights(x, rows, columns)


def cropped(n: int, side: float, place: Tensor) -> Tensor:
    """Return matrices (B, n, n) for places given by uniform numbers (B,) in [0, 1)."""
    length = max(1, round(side * n))
    start = (place * (n - length + 1)).long()  # (B,)
    return line_weights(n, start, torch.full_like(start, length), n)
