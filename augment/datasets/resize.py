"""Bringing images that are in memory to another size."""

import torch
from torch.nn.functional import interpolate

from attacks.errors import RefusedInput
from augment.dataset import Dataset, as_float
from augment.datasets.reading import MOST_MEMORY

_CHUNK = 1024


def resized(dataset: Dataset, size: int) -> Dataset:
    """The dataset with square images: scaled to cover, cut to the centre.

    Args:
        dataset: Any; one of that size already comes back as it is.
        size: Side of the images.

    Raises:
        RefusedInput: The images would not fit into 2 GiB.
    """
    channels, height, width = dataset.shape
    if height == width == size:
        return dataset
    if len(dataset) * channels * size * size * dataset.raw([0]).element_size() > MOST_MEMORY:
        raise RefusedInput(
            f"{dataset.name}: {len(dataset)} images of {size} x {size} do not fit into 2 GiB; "
            "take fewer samples or a smaller size"
        )
    pixels = torch.cat(  # (N, C, size, size)
        [_fit(dataset, rows, size) for rows in torch.split(torch.arange(len(dataset)), _CHUNK)]
    )
    return Dataset(
        pixels,
        dataset.labels,
        dataset.ids,
        name=dataset.name,
        classes=dataset.classes,
        skipped=dataset.skipped,
    )


def _fit(dataset: Dataset, rows: torch.Tensor, size: int) -> torch.Tensor:
    _, height, width = dataset.shape
    raw = dataset.raw(rows)  # (B, C, H, W)
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = as_float(raw)[..., top : top + side, left : left + side]  # (B, C, side, side)
    x = interpolate(square, (size, size), mode="bicubic", antialias=True).clamp(0, 1)
    return (x * 255).round().to(torch.uint8) if raw.dtype == torch.uint8 else x
