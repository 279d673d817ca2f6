"""From arrays that nobody has checked to images or videos and their labels `(N,)`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attacks.errors import RefusedInput
from augment.dataset import Dataset
from augment.datasets.classlist import read_class_list
from augment.datasets.clips import clip_frames, clip_ids
from augment.datasets.request import Request
from augment.splits import hash_split, home_of

Array = NDArray[np.generic]


def as_pixels(array: Array, *, origin: str) -> Tensor:
    """Images `(N, C, H, W)` or videos `(N, C, T, H, W)`, uint8 or float32 in [0, 1].

    Args:
        array: Images `(N, H, W)`, `(N, C, H, W)` or `(N, H, W, C)`, or videos `(N, C, T, H, W)`
            or `(N, T, H, W, C)`, with C 1 or 3; where both readings are possible, channels come
            first.
        origin: File and name of the array, for messages.

    Raises:
        RefusedInput: Another shape or type, or values outside the range.
    """
    if array.ndim == 3:
        array = array[:, None]  # (N, 1, H, W)
    if array.ndim in (4, 5) and array.shape[1] not in (1, 3) and array.shape[-1] in (1, 3):
        array = np.moveaxis(array, -1, 1)  # (N, C, H, W) or (N, C, T, H, W)
    if array.ndim not in (4, 5) or array.shape[1] not in (1, 3) or 0 in array.shape[2:]:
        raise RefusedInput(
            f"{origin}: shape {array.shape}; store images as (N, H, W), (N, C, H, W) or "
            "(N, H, W, C) with 1 or 3 channels, videos as (N, C, T, H, W) or (N, T, H, W, C)"
        )
    if array.dtype == np.uint8:
        return torch.from_numpy(np.ascontiguousarray(array))
    if array.dtype.kind != "f":
        raise RefusedInput(f"{origin}: type {array.dtype}; store uint8, or floats in [0, 1]")
    x = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    if bool(x.isnan().any()):
        raise RefusedInput(f"{origin}: holds NaN; write it anew with finite floats in [0, 1]")
    if len(x) and not (float(x.min()) >= 0 and float(x.max()) <= 1):
        raise RefusedInput(
            f"{origin}: values from {x.min():g} to {x.max():g}; floats must be in [0, 1]: "
            "undo the normalisation or divide by 255"
        )
    return x


def as_labels(array: Array, *, count: int, origin: str) -> Tensor:
    """Class ids `(N,)` int64, at least 0, or -1 for unlabelled.

    Raises:
        RefusedInput: Not N whole numbers of at least -1.
    """
    labels = array.reshape(-1) if array.shape == (count, 1) else array
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise RefusedInput(
            f"{origin}: {labels.dtype} of shape {array.shape}; store {count} whole numbers, "
            "one class id per sample"
        )
    if count and not (labels.min() >= -1 and labels.max() < 2**31):
        raise RefusedInput(
            f"{origin}: values from {labels.min()} to {labels.max()}; class ids count from 0"
        )
    return torch.from_numpy(labels.astype(np.int64))


@dataclass(frozen=True)
class Part:
    """One part of a source: images or videos read when asked for, and labels or None."""

    images: Callable[[], Array]
    labels: Array | None


def dataset_of(
    parts: Mapping[str | None, Part],
    request: Request,
    *,
    name: str,
    origin: str,
    known: Sequence[str] | None = None,
) -> Dataset:
    """The split of a source that holds arrays.

    Args:
        parts: train, val, test or some of them; or one part named None, which is cut.
        request: What is asked for.
        name: Name of the dataset.
        origin: File or folder, for messages.
        known: Names of the classes, where the source has them.

    Raises:
        RefusedInput: The split is missing or an array is not what it should be.
    """
    present = [part for part in parts if part is not None]
    home, test = home_of(request.split, present, origin=origin)
    x = as_pixels(parts[home].images(), origin=f"{origin}: images")
    labels = {part: given.labels for part, given in parts.items() if given.labels is not None}
    highest = max((int(y.max()) for y in labels.values() if y.size), default=-1)
    y = torch.full((len(x),), -1)  # (N,)
    if home in labels:
        y = as_labels(labels[home], count=len(x), origin=f"{origin}: labels")
    ids = [f"{i:06d}" for i in range(len(x))]
    classes = class_names(request, highest=highest, known=known)
    dataset = Dataset(x, y, ids, name=name, classes=classes)
    if test is not None and not (home is None and home not in labels):
        dataset = dataset.subset(hash_split(ids, request.split, test=test))
    return _clips(dataset, request) if dataset.is_video else dataset


def _clips(dataset: Dataset, request: Request) -> Dataset:
    """The clips of videos that are in memory; without a length, they last as long as the videos."""
    count = dataset.shape[1]
    frames = request.frames or -(-count // request.stride)
    wanted = clip_frames(count, frames=frames, stride=request.stride, clips=request.clips)
    if wanted == [list(range(count))]:
        return dataset
    videos = dataset.raw(range(len(dataset)))  # (N, C, T, H, W)
    clips = torch.stack([videos[:, :, clip] for clip in wanted], 1)  # (N, clips, C, frames, H, W)
    return Dataset(
        clips.flatten(0, 1),
        dataset.labels.repeat_interleave(request.clips),
        [text for name in dataset.ids for text in clip_ids(name, request.clips)],
        name=dataset.name,
        classes=dataset.classes,
    )


def class_names(request: Request, *, highest: int, known: Sequence[str] | None = None) -> list[str]:
    """Names of the classes: those of the class list, or known ones, or numbers.

    Args:
        request: May name a class list.
        highest: Largest label of all splits; -1 when unlabelled.
        known: The source's own names.

    Raises:
        RefusedInput: There are fewer names than classes.
    """
    names = [str(i) for i in range(highest + 1)] if known is None else list(known)
    if request.classes is not None:
        names = read_class_list(request.classes).names
    if len(names) <= highest:
        raise RefusedInput(
            f"class list {request.classes or 'of the data'}: {len(names)} classes, but there is "
            f"a label {highest}; add the missing lines"
        )
    return names
