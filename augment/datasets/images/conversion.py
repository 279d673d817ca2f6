"""Conversion of samples in memory: to grey or RGB, and to another size."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from attacks.errors import RefusedInput
from augment.dataset import Dataset, as_float
from augment.datasets.images.reading import MOST_MEMORY

_CHUNK = 1024  # images that are converted at once
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
    return _convert(dataset, (channels, *rest), to_rgb if channels == 3 else to_grey)


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
    return _convert(dataset, (*planes, size, size), partial(_resize, size=size))


def _convert(dataset: Dataset, shape: Sequence[int], change: Callable[[Tensor], Tensor]) -> Dataset:
    """Convert the samples of a dataset to a shape, a few at a time."""
    if len(dataset) * math.prod(shape) * dataset.raw([0]).element_size() > MOST_MEMORY:
        raise RefusedInput(
            f"{dataset.name}: {len(dataset)} samples of {'x'.join(map(str, shape))} do not fit "
            "into 2 GiB; take fewer samples or a smaller size"
        )
    chunks = torch.split(torch.arange(len(dataset)), max(1, _CHUNK // math.prod(shape[1:-2])))
    return dataset.replace(torch.cat([change(dataset.raw(rows)) for rows in chunks]))


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


def _resize(raw: Tensor, *, size: int) -> Tensor:
    """Resize samples `(B, C, H, W)` or `(B, C, T, H, W)`."""
    height, width = raw.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = as_float(raw)[..., top : top + side, left : left + side]  # (B, C, ..., side, side)
    planes = square.flatten(1, -3)  # (B, C * T, side, side)
    x = interpolate(planes, (size, size), mode="bicubic", antialias=True).clamp(0, 1)
    x = x.view(*square.shape[:-2], size, size)  # (B, C, ..., size, size)
    return (x * 255).round().to(torch.uint8) if raw.dtype == torch.uint8 else x
