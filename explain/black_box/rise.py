"""RISE: the mean of random masks, each weighted by what the classifier makes of what it shows."""

from dataclasses import dataclass
from math import ceil
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from attacks.common.options import Count, inside
from attacks.common.randomness import generator_for
from explain.black_box.masked_probabilities import masked_probabilities
from explain.crop import crop
from explain.method import ExplanationCall, ExplanationMethod


@dataclass(frozen=True)
class RISE(ExplanationMethod):
    """The expected probability of a class where a pixel is shown, from random masks.

    The masks are those of the seed, the same for all samples. Of videos they vary over time too.

    Args:
        masks: how many; the paper takes 4000 to 8000.
        grid: cells of a mask along each side, of which bilinear (trilinear) interpolation makes
            pixels.
        p: share of the cells that show the sample, in (0, 1).
        chunk: samples in a pass.

    Source: Petsiuk, Das & Saenko 2018, eq. (6) and section 3.2.
    """

    masks: Count = 1000
    grid: Count = 7
    p: Annotated[float, inside(0, 1)] = 0.5
    chunk: Count = 64

    def explain(self, call: ExplanationCall) -> Tensor:
        """Return sum over masks of probability x mask / (masks x p), (B, H, W) or (B, T, H, W)."""
        masks = RandomMasks.draw(self.masks, call.x, grid=self.grid, p=self.p, seed=call.seed)
        shares = masked_probabilities(
            call, masks.some, count=self.masks, fill=0.0, chunk=self.chunk
        )  # (B, masks)
        total = torch.zeros_like(call.x[:, 0])  # (B, *sides)
        for first in range(0, self.masks, self.chunk):
            some = masks.some(first, min(first + self.chunk, self.masks))
            total += torch.tensordot(shares[:, first : first + self.chunk], some, dims=1)
        return total / (self.masks * self.p)


@dataclass(frozen=True)
class RandomMasks:
    """Masks as coarse grids, made larger than the sample by a cell and shifted within that cell.

    Attributes:
        cells: 1 where the sample is shown, else 0, (N, *grid).
        shifts: in pixels of each axis, int64 (N, axes).
        sides: of the sample.
    """

    cells: Tensor
    shifts: Tensor
    sides: torch.Size

    @classmethod
    def draw(cls, count: int, x: Tensor, *, grid: int, p: float, seed: int) -> "RandomMasks":
        """Draw masks for samples x (B, C, *sides) by the seed."""
        generator, sides = generator_for(seed, "rise"), x.shape[2:]
        cells = torch.rand(count, *[grid] * len(sides), generator=generator) < p
        lengths = torch.tensor(_cell_sides(sides, grid))
        shifts = torch.rand(count, len(sides), generator=generator) * lengths  # within a cell
        return cls(cells.to(x), shifts.long().to(x.device), sides)

    def some(self, first: int, last: int) -> Tensor:
        """Return the masks with numbers [first, last), (last - first, *sides) in [0, 1]."""
        grid = self.cells.shape[1]
        size = [(grid + 1) * length for length in _cell_sides(self.sides, grid)]
        mode = "trilinear" if len(size) == 3 else "bilinear"
        masks = F.interpolate(self.cells[first:last, None], size, mode=mode)  # (n, 1, ...)
        return crop(masks, self.shifts[first:last], self.sides)[:, 0]


def _cell_sides(sides: torch.Size, grid: int) -> list[int]:
    """Return the pixels of a cell along each axis; `grid` of them cover it."""
    return [ceil(side / grid) for side in sides]
