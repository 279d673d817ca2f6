"""Conversion of samples in memory to grey or RGB."""

import torch
from torch import Tensor

from augment.dataset import Dataset
from augment.datasets.images.resize import check_memory

_WEIGHTS = (19595, 38470, 7471)  # of R, G and B in 65536ths, as in Pillow: ITU-R BT.601


def convert_channels(dataset: Dataset, channels: int) -> Dataset:
    """Convert a dataset to grey or RGB.

    Args:
        dataset: Any; one of so many channels already comes back as it is.
        channels: 1, or 3.

    Raises:
        RefusedInput: The samples would not fit into 2 GiB.
    """
    before, *rest = dataset.shape
    if before == channels:
        return dataset
    check_memory(dataset, (channels, *rest))
    parts = torch.split(torch.arange(len(dataset)), 1024)
    change = to_rgb if channels == 3 else to_grey
    return dataset.replace(torch.cat([change(dataset.raw(rows)) for rows in parts]))


def to_rgb(pixels: Tensor) -> Tensor:
    """Repeat grey samples `(N, 1, ...)` to `(N, 3, ...)`."""
    return pixels.expand(-1, 3, *pixels.shape[2:])


def to_grey(pixels: Tensor) -> Tensor:
    """Mix RGB samples `(N, 3, ...)` to grey `(N, 1, ...)`, uint8 to the byte as Pillow does.

    >>> to_grey(torch.tensor([[[[255]], [[0]], [[0]]]], dtype=torch.uint8)).flatten().tolist()
    [76]
    """
    weights = torch.tensor(_WEIGHTS).view(3, *[1] * (pixels.ndim - 2))
    if pixels.dtype != torch.uint8:
        return (pixels * (weights / 65536)).sum(1, keepdim=True).clamp(0, 1)  # (N, 1, ...)
    total = (pixels.int() * weights).sum(1, keepdim=True)  # (N, 1, ...)
    return (total + 32768).div(65536, rounding_mode="floor").to(torch.uint8)
