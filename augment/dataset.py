"""The one kind of dataset: labelled images by number, in memory or read when asked for."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

Rows = Sequence[int] | Tensor


class Pixels(Protocol):
    """What a dataset reads its images from; a `(N, C, H, W)` tensor is one."""

    @property
    def shape(self) -> Sequence[int]:
        """`(N, C, H, W)`."""

    def __getitem__(self, rows: Tensor, /) -> Tensor:
        """The images of these rows, `(B, C, H, W)`, uint8 or float32 in [0, 1]."""


class Dataset(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Images `(C, H, W)` in [0, 1] with labels, names and a stable id each.

    Attributes:
        name: Where the images come from, such as `digits`.
        classes: Class names; line i belongs to label i. Empty for unlabelled images.
        ids: One unique text per image, the same whatever else is loaded.
        labels: `(N,)` int64; -1 where unlabelled.
        skipped: Files left out, each with the reason.
    """

    def __init__(
        self,
        pixels: Tensor | Pixels,
        labels: Tensor,
        ids: Sequence[str],
        *,
        name: str,
        classes: Sequence[str],
        skipped: Sequence[str] = (),
        rows: Tensor | None = None,
    ) -> None:
        """Join images with their labels and ids.

        Args:
            pixels: `(N, C, H, W)` uint8 or float32 in [0, 1], or what reads them.
            labels: `(N,)` int64.
            ids: N unique texts.
            name: Name of the source.
            classes: Class names.
            skipped: Files left out, each with the reason.
            rows: `(N,)` which rows of `pixels` these are; None means all, in order.

        Raises:
            ValueError: Numbers of images, labels and ids differ, or an id occurs twice.
        """
        rows = torch.arange(pixels.shape[0]) if rows is None else rows
        counts = {"images": len(rows), "labels": len(labels), "ids": len(ids)}
        if len(set(counts.values())) > 1:
            raise ValueError(f"{name}: numbers differ: {counts}; give one label and id per image")
        if len(set(ids)) < len(ids):
            raise ValueError(f"{name}: ids repeat; every image needs an id of its own")
        self.name, self.classes = name, list(classes)
        self.ids, self.labels, self.skipped = list(ids), labels.long(), list(skipped)
        self._pixels, self._rows = pixels, rows

    def __len__(self) -> int:
        """Number of images."""
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Image `(C, H, W)` float32 in [0, 1] and label."""
        x, y = self.stack([range(len(self))[index]])
        return x[0], int(y[0])

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(C, H, W)` of every image."""
        _, channels, height, width = self._pixels.shape
        return channels, height, width

    @property
    def num_classes(self) -> int:
        """How many class names there are."""
        return len(self.classes)

    def raw(self, indices: Rows) -> Tensor:
        """Images as they are kept, `(B, C, H, W)` uint8 or float32 in [0, 1]."""
        return self._pixels[self._rows[torch.as_tensor(indices, dtype=torch.int64)]]

    def stack(self, indices: Rows) -> tuple[Tensor, Tensor]:
        """Images `(B, C, H, W)` float32 in [0, 1] and labels `(B,)` int64."""
        indices = torch.as_tensor(indices, dtype=torch.int64)
        return as_float(self.raw(indices)), self.labels[indices]

    def subset(self, indices: Rows) -> "Dataset":
        """The dataset of these images, in this order; pixels are shared, not copied."""
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        return Dataset(
            self._pixels,
            self.labels[chosen],
            [self.ids[i] for i in chosen.tolist()],
            name=self.name,
            classes=self.classes,
            skipped=self.skipped,
            rows=self._rows[chosen],
        )


def as_float(pixels: Tensor) -> Tensor:
    """Images as float32 in [0, 1]; uint8 is divided by 255, other types only widened.

    >>> as_float(torch.tensor([0, 255], dtype=torch.uint8))
    tensor([0., 1.])
    """
    return pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels.float()
