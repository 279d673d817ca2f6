"""Resizing of samples in memory."""

import math
from collections.abc import Sequence

import torch
from torch.nn.functional import interpolate

from attacks.errors import RefusedInput
from augment.dataset import Dataset, as_float
from augment.datasets.images.reading import MOST_MEMORY

_CHUNK = 1024


def resize_dataset(dataset: Dataset, size: int) -> Dataset:
    """Resize a dataset to square images or videos: scaled to cover, cropped to the centre.

    Args:
        dataset: Any; one of that size already comes back as it is.
        size: Side of the samples.

    Raises:
        RefusedInput: The samples would not fit into 2 GiB.
    """
    *planes, height, width = dataset.shape
    if height == width == size:
        return dataset
    check_memory(dataset, (*planes, size, size))
    chunk = max(1, _CHUNK // math.prod(planes[1:]))
    pixels = torch.cat(  # (N, C, size, size) or (N, C, T, size, size)
        [
            _resize_rows(dataset, rows, size)
            for rows in torch.split(torch.arange(len(dataset)), chunk)
        ]
    )
    return dataset.replace(pixels)


def check_memory(dataset: Dataset, shape: Sequence[int]) -> None:
    """Refuse to bring a dataset to a shape in which it takes more than 2 GiB.

    Raises:
        RefusedInput: The samples would not fit.
    """
    if len(dataset) * math.prod(shape) * dataset.raw([0]).element_size() > MOST_MEMORY:
        raise RefusedInput(
            f"{dataset.name}: {len(dataset)} samples of {'x'.join(map(str, shape))} do not fit "
            "into 2 GiB; take fewer samples or a smaller size"
        )


def _resize_rows(dataset: Dataset, rows: torch.Tensor, size: int) -> torch.Tensor:
    raw = dataset.raw(rows)  # (B, C, H, W) or (B, C, T, H, W)
    height, width = raw.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = as_float(raw)[..., top : top + side, left : left + side]  # (B, C, ..., side, side)
    planes = square.flatten(1, -3)  # (B, C * T, side, side)
    x = interpolate(planes, (size, size), mode="bicubic", antialias=True).clamp(0, 1)
    x = x.view(*square.shape[:-2], size, size)  # (B, C, ..., size, size)
    return (x * 255).round().to(torch.uint8) if raw.dtype == torch.uint8 else x
