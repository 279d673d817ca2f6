"""Many small pictures as one."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def tile(pictures: Tensor, *, columns: int | None = None, gap: int = 1) -> Tensor:
    """Lay pictures out in rows, with lines of white between them.

    Args:
        pictures: (N, C, H, W), values in [0, 1].
        columns: pictures in a row; None makes about as many rows as columns.
        gap: width of the lines in pixels.

    Returns:
        One picture, (C, rows * (H + gap) - gap, columns * (W + gap) - gap).

    >>> tile(torch.zeros(3, 1, 2, 2), columns=2).shape
    torch.Size([1, 5, 5])
    """
    count, channels, height, width = pictures.shape
    columns = min(count, columns or math.ceil(math.sqrt(count)))
    rows = -(-count // columns)
    framed = F.pad(pictures, (0, gap, 0, gap), value=1.0)  # (N, C, H', W')
    missing = framed.new_ones(rows * columns - count, channels, height + gap, width + gap)
    cells = torch.cat([framed, missing]).reshape(rows, columns, channels, height + gap, -1)
    whole = cells.permute(2, 0, 3, 1, 4).flatten(3).flatten(1, 2)  # (C, rows * H', columns * W')
    return whole[:, : whole.shape[1] - gap, : whole.shape[2] - gap]


def frames_in_a_row(pictures: Tensor) -> Tensor:
    """Return pictures (N, C, H, W) as they are, and clips (N, C, T, H, W) as (N, C, H, T * W)."""
    if pictures.ndim == 4:
        return pictures
    return pictures.transpose(2, 3).flatten(3)  # (N, C, H, T * W)
