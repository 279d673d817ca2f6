"""The one kind of dataset: labelled images or videos by number, in memory or read on demand."""

import json
import math
from collections.abc import Sequence
from hashlib import blake2b
from typing import Protocol

import torch
from torch import Tensor

Rows = Sequence[int] | Tensor
_SPREAD = 256  # samples that are decoded to tell a data set by
_PIECE = 2**24  # values that are hashed at once


class PixelSource(Protocol):
    """The source that a dataset reads pixels from; a `(N, C, H, W)` tensor is one.

    Videos are `(N, C, T, H, W)`; where `(C, H, W)` stands below, they have `(C, T, H, W)`.
    """

    @property
    def shape(self) -> Sequence[int]:
        """`(N, C, H, W)`, of videos `(N, C, T, H, W)`."""

    def __getitem__(self, rows: Tensor, /) -> Tensor:
        """Read the samples of rows `(B,)`, `(B, C, H, W)` uint8 or float32 in [0, 1]."""


class Dataset(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Images `(C, H, W)` or videos `(C, T, H, W)` in [0, 1], each with a label and a stable id.

    Attributes:
        name: Where the samples come from, such as `digits`.
        classes: Class names; line i belongs to label i. Empty for unlabelled samples.
        ids: One unique text per sample, the same whatever else is loaded.
        labels: `(N,)` int64; -1 where unlabelled.
        skipped: Files left out, each with the reason.
    """

    def __init__(
        self,
        pixels: Tensor | PixelSource,
        labels: Tensor,
        ids: Sequence[str],
        *,
        name: str,
        classes: Sequence[str],
        skipped: Sequence[str] = (),
        rows: Tensor | None = None,
    ) -> None:
        """Join samples with their labels and ids.

        Args:
            pixels: `(N, C, H, W)` or `(N, C, T, H, W)`, uint8 or float32 in [0, 1], or their
                source.
            labels: `(N,)` int64.
            ids: N unique texts.
            name: Name of the source.
            classes: Class names.
            skipped: Files left out, each with the reason.
            rows: `(N,)` which rows of `pixels` these are; None means all, in order.

        Raises:
            ValueError: The samples are neither images nor videos, their numbers differ from those
                of the labels and ids, or an id occurs twice.
        """
        if len(pixels.shape) not in (4, 5):
            raise ValueError(
                f"{name}: pixels of shape {tuple(pixels.shape)}; give images (N, C, H, W) or "
                "videos (N, C, T, H, W)"
            )
        rows = torch.arange(pixels.shape[0]) if rows is None else rows
        counts = {"samples": len(rows), "labels": len(labels), "ids": len(ids)}
        if len(set(counts.values())) > 1:
            raise ValueError(f"{name}: numbers differ: {counts}; give one label and id a sample")
        if len(set(ids)) < len(ids):
            raise ValueError(f"{name}: ids repeat; every sample needs an id of its own")
        self.name, self.classes = name, list(classes)
        self.ids, self.labels, self.skipped = list(ids), labels.long(), list(skipped)
        self._pixels, self._rows = pixels, rows

    def __repr__(self) -> str:
        """Return one line: the name, how many samples of which shape, and how many classes."""
        return (
            f"{type(self).__name__}({self.name}: {len(self)} samples of {self.shape}, "
            f"{self.num_classes} classes)"
        )

    def __len__(self) -> int:
        """Count the samples."""
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Read sample `(C, H, W)` float32 in [0, 1] and its label."""
        x, y = self.stack([range(len(self))[index]])
        return x[0], int(y[0])

    @property
    def shape(self) -> tuple[int, ...]:
        """`(C, H, W)` of every image, `(C, T, H, W)` of every video."""
        return tuple(self._pixels.shape[1:])

    @property
    def is_video(self) -> bool:
        """Whether the samples are videos."""
        return len(self._pixels.shape) == 5

    @property
    def num_classes(self) -> int:
        """How many class names there are."""
        return len(self.classes)

    @property
    def perturbed(self) -> Tensor:
        """`(N,)` bool, which samples an attack made."""
        return torch.zeros(len(self), dtype=torch.bool)

    def raw(self, indices: Rows) -> Tensor:
        """Read samples in their stored type, `(B, C, H, W)` uint8 or float32 in [0, 1]."""
        return self._pixels[self._rows[row_numbers(indices)]]

    def stack(self, indices: Rows) -> tuple[Tensor, Tensor]:
        """Read samples `(B, C, H, W)` float32 in [0, 1] and labels `(B,)` int64."""
        indices = row_numbers(indices)
        return as_float(self.raw(indices)), self.labels[indices]

    def digest(self) -> str:
        """Hash the samples: their ids, labels, classes and pixels.

        Of samples that are read when asked for, the sizes of all files and the pixels of `_SPREAD`
        of them, spread evenly, stand for the rest.
        """
        result = blake2b(digest_size=16)
        sizes: list[int] = getattr(self._pixels, "sizes", list)()
        about = [self.ids, self.labels.tolist(), self.classes, list(self.shape), sizes]
        result.update(json.dumps(about).encode())
        count = len(self) if isinstance(self._pixels, Tensor) else min(len(self), _SPREAD)
        rows = torch.arange(count) * len(self) // max(count, 1)
        for some in torch.split(rows, max(1, _PIECE // max(1, math.prod(self.shape)))):
            result.update(self.raw(some).contiguous().numpy().data)
        return result.hexdigest()

    def subset(self, indices: Rows) -> "Dataset":
        """Select samples in the given order; pixels are shared, not copied."""
        chosen = row_numbers(indices)
        ids = [self.ids[i] for i in chosen.tolist()]
        return self.replace(
            self._pixels, labels=self.labels[chosen], ids=ids, rows=self._rows[chosen]
        )

    def replace(
        self,
        pixels: Tensor | PixelSource,
        *,
        labels: Tensor | None = None,
        ids: Sequence[str] | None = None,
        rows: Tensor | None = None,
    ) -> "Dataset":
        """Make a dataset of other pixels under the same name and classes.

        Args:
            pixels: `(N, C, H, W)` or `(N, C, T, H, W)`, or their source.
            labels: `(N,)` int64; None keeps the labels.
            ids: N unique texts; None keeps the ids.
            rows: `(N,)` which rows of `pixels` these are; None means all, in order.
        """
        return Dataset(
            pixels,
            self.labels if labels is None else labels,
            self.ids if ids is None else ids,
            name=self.name,
            classes=self.classes,
            skipped=self.skipped,
            rows=rows,
        )


def row_numbers(indices: Rows) -> Tensor:
    """Convert numbers of samples to `(B,)` int64.

    Raises:
        ValueError: For a mask, which would be taken for samples 0 and 1, or floats.

    >>> row_numbers(range(2))
    tensor([0, 1])
    """
    given = torch.as_tensor(indices)
    if given.numel() and (given.dtype == torch.bool or given.is_floating_point()):
        mask = given.dtype == torch.bool
        advice = "give mask.nonzero().flatten()" if mask else "give whole numbers"
        raise ValueError(f"indices are {given.dtype}, not numbers of samples; {advice}")
    return given.to(torch.int64)


def as_float(pixels: Tensor) -> Tensor:
    """Convert pixels to float32 in [0, 1]; uint8 is divided by 255, other types only widened.

    >>> as_float(torch.tensor([0, 255], dtype=torch.uint8))
    tensor([0., 1.])
    """
    return pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels.float()
