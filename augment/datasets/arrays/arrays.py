"""From arrays that nobody has checked to images or videos and their labels `(N,)`."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attacks.common.batch_attack import RANGE_TOLERANCE
from attacks.errors import RefusedInput
from augment.dataset import Dataset
from augment.datasets.classlist import read_class_list
from augment.datasets.clips import clip_frames, clip_ids
from augment.datasets.images.conversion import convert_channels
from augment.datasets.request import Request
from augment.splits import hash_split, source_split

logger = logging.getLogger(__name__)
Array = NDArray[np.generic]
MOST_CLASSES = 100_000  # a name is kept for each; a larger number is hardly a class id
MOST_LABEL_BYTES = 2**30


@dataclass(frozen=True)
class ArrayHeader:
    """The header of an array: its shape and the type of its numbers."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]


def pixel_shape(array: Array | ArrayHeader, *, origin: str) -> tuple[int, ...]:
    """Move the channels of an array's shape to the front: `(N, C, H, W)` or `(N, C, T, H, W)`.

    Args:
        array: Images `(N, H, W)`, `(N, C, H, W)` or `(N, H, W, C)`, or videos `(N, C, T, H, W)`
            or `(N, T, H, W, C)`, with C 1 or 3; where both readings are possible, channels come
            first.
        origin: File and name of the array, for messages.

    Raises:
        RefusedInput: Another shape or type.
    """
    front, dtype = array.shape, array.dtype
    if len(front) == 3:
        front = (front[0], 1, *front[1:])  # (N, 1, H, W)
    if len(front) in (4, 5) and front[1] not in (1, 3) and front[-1] in (1, 3):
        front = (front[0], front[-1], *front[1:-1])  # (N, C, H, W) or (N, C, T, H, W)
    if len(front) not in (4, 5) or front[1] not in (1, 3) or 0 in front[2:]:
        raise RefusedInput(
            f"{origin}: shape {str(array.shape)[:100]}; store images as (N, H, W), (N, C, H, W) "
            "or (N, H, W, C) with 1 or 3 channels, videos as (N, C, T, H, W) or (N, T, H, W, C)"
        )
    if dtype != np.uint8 and dtype.kind != "f":
        raise RefusedInput(f"{origin}: type {str(dtype)[:50]}; store uint8, or floats in [0, 1]")
    return front


def to_pixels(array: Array, *, origin: str) -> Tensor:
    """Convert an array to images `(N, C, H, W)` or videos `(N, C, T, H, W)`, uint8 or float32.

    Args:
        array: As of `pixel_shape`.
        origin: File and name of the array, for messages.

    Raises:
        RefusedInput: Another shape or type, or values outside the range.
    """
    shape = pixel_shape(array, origin=origin)
    if array.ndim == 3:
        array = array[:, None]  # (N, 1, H, W)
    elif array.shape != shape:
        array = np.moveaxis(array, -1, 1)  # (N, C, H, W) or (N, C, T, H, W)
    if array.dtype == np.uint8:
        if array.max(initial=0) == 1:
            logger.warning(
                "%s: bytes of 0 and 1 alone, of which 255 is white: nearly black; store floats "
                "where 1 is white",
                origin,
            )
        return torch.from_numpy(np.ascontiguousarray(array))
    x = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    if bool(x.isnan().any()):
        raise RefusedInput(f"{origin}: holds NaN; write it anew with finite floats in [0, 1]")
    low, high = (float(end) for end in x.aminmax()) if len(x) else (0.0, 1.0)
    if low < -RANGE_TOLERANCE or high > 1 + RANGE_TOLERANCE:
        raise RefusedInput(
            f"{origin}: values from {low:g} to {high:g}; floats must be in [0, 1]: "
            "undo the normalisation or divide by 255"
        )
    return x.clamp_(0, 1)  # of what was only rounded


def check_label_type(array: Array | ArrayHeader, *, count: int, origin: str) -> None:
    """Check shape and type of an array of labels, before the array is read.

    Args:
        array: The array, or its header.
        count: Number of samples.
        origin: File and name of the array, for messages.

    Raises:
        RefusedInput: It cannot hold a class id for each sample.
    """
    shape, dtype = array.shape, array.dtype
    if dtype.kind in "USO":
        told = "pickled objects, which could run code" if dtype.kind == "O" else f"text ({dtype})"
        raise RefusedInput(
            f"{origin}: {told}; store {count} whole numbers, one class id per sample "
            "(np.unique(y, return_inverse=True)[1] makes them of names)"
        )
    one_hot = len(shape) == 2 and shape[0] == count and 1 <= shape[1] <= MOST_CLASSES
    if dtype.kind not in "biuf" or (shape != (count,) and not one_hot):
        raise _ids_error(array, count, origin)
    if math.prod(shape) * dtype.itemsize > MOST_LABEL_BYTES:
        raise RefusedInput(
            f"{origin}: {shape} {dtype} take more than {MOST_LABEL_BYTES} bytes; store {count} "
            "whole numbers, one class id per sample"
        )


def to_labels(array: Array, *, count: int, origin: str) -> Tensor:
    """Convert an array to class ids `(N,)` int64, at least 0, or -1 for unlabelled.

    Args:
        array: Whole numbers `(N,)` or `(N, 1)` of any type, or one-hot rows `(N, K)`.
        count: N.
        origin: File and name of the array, for messages.

    Raises:
        RefusedInput: Not N class ids.
    """
    check_label_type(array, count=count, origin=origin)
    if array.ndim == 2 and array.shape[1] > 1:
        ones, zeros = array == 1, array == 0  # (N, K)
        if not (ones.sum(1) == 1).all() or not (ones | zeros).all():
            raise _ids_error(array, count, origin)
        return torch.from_numpy(ones.argmax(1).astype(np.int64))
    labels = array.reshape(-1)  # (N,)
    if labels.dtype.kind == "f":
        if bad := int((~np.isfinite(labels)).sum()):
            raise RefusedInput(
                f"{origin}: {bad} of {count} are NaN or infinite; store {count} whole numbers, "
                "-1 for unlabelled"
            )
        if not (labels == np.rint(labels)).all():
            raise _ids_error(array, count, origin)
    if count and not (labels.min() >= -1 and labels.max() < MOST_CLASSES):
        raise RefusedInput(
            f"{origin}: values from {labels.min()} to {labels.max()}; class ids count from 0 to "
            f"at most {MOST_CLASSES - 1}, -1 is unlabelled; number the classes anew"
        )
    return torch.from_numpy(labels.astype(np.int64))


def _ids_error(array: Array | ArrayHeader, count: int, origin: str) -> RefusedInput:
    return RefusedInput(
        f"{origin}: {str(array.dtype)[:50]} of shape {str(array.shape)[:50]}; store {count} whole "
        "numbers, one class id per sample, or one-hot rows"
    )


@dataclass(frozen=True)
class ArrayPart:
    """The arrays of one part of a source.

    Attributes:
        images: Reads the images or videos.
        labels: Their labels, or None.
        shape: Their shape as of `pixel_shape`; None where all parts share one.
    """

    images: Callable[[], Array]
    labels: Array | None
    shape: tuple[int, ...] | None = None


def build_dataset(
    parts: Mapping[str | None, ArrayPart],
    request: Request,
    *,
    name: str,
    origin: str,
    known: Sequence[str] | None = None,
) -> Dataset:
    """Build the dataset of one split from arrays.

    Args:
        parts: train, val, test or some of them; or one part named None, which is cut.
        request: The options of the source.
        name: Name of the dataset.
        origin: File or folder, for messages.
        known: Names of the classes, where the source has them.

    Raises:
        RefusedInput: The split is missing or an array has another shape, type or range.
    """
    channels = _choose_channels(parts, request, origin=origin)
    present = [part for part in parts if part is not None]
    home, test = source_split(request.split, present, origin=origin)
    x = to_pixels(parts[home].images(), origin=f"{origin}: images")
    labels = {
        part: to_labels(given.labels, count=len(given.labels), origin=f"{origin}: labels")
        for part, given in parts.items()
        if given.labels is not None
    }
    highest = max((int(y.max()) for y in labels.values() if len(y)), default=-1)
    y = labels.get(home, torch.full((len(x),), -1))  # (N,)
    ids = [f"{i:06d}" for i in range(len(x))]
    classes = class_names(request, highest=highest, known=known)
    dataset = Dataset(x, y, ids, name=name, classes=classes)
    if channels is not None:
        dataset = convert_channels(dataset, channels)
    if test is not None and not (home is None and home not in labels):
        dataset = dataset.subset(hash_split(ids, request.split, test=test))
    return _cut_clips(dataset, request) if dataset.is_video else dataset


def _choose_channels(
    parts: Mapping[str | None, ArrayPart], request: Request, *, origin: str
) -> int | None:
    """Choose the channels of all parts; None where the parts agree.

    Raises:
        RefusedInput: The parts differ in shape, and no option says how to resolve that.
    """
    shapes = {part: each.shape[1:] for part, each in parts.items() if each.shape is not None}
    told = ", ".join(f"{part or 'all'} {'x'.join(map(str, s))}" for part, s in shapes.items())
    advice = {
        "images beside videos": len({len(shape) for shape in shapes.values()}) > 1,
        "--size N": not request.size and len({shape[-2:] for shape in shapes.values()}) > 1,
        "--frames N": not request.frames and len({shape[1:-2] for shape in shapes.values()}) > 1,
    }
    for option, differs in advice.items():
        if differs:
            remedy = f"give {option}" if option.startswith("--") else f"these are {option}"
            raise RefusedInput(f"{origin}: the splits differ in shape ({told}); {remedy}")
    found = {shape[0] for shape in shapes.values()}
    if request.channels is None and len(found) > 1:
        logger.info("%s: grey samples become RGB, as other splits are RGB (%s)", origin, told)
        return 3
    return request.channels


def _cut_clips(dataset: Dataset, request: Request) -> Dataset:
    """Cut clips from videos in memory; without a length, they last as long as the videos."""
    count = dataset.shape[1]
    frames = request.frames or -(-count // request.stride)
    wanted = clip_frames(count, frames=frames, stride=request.stride, clips=request.clips)
    if wanted == [list(range(count))]:
        return dataset
    videos = dataset.raw(range(len(dataset)))  # (N, C, T, H, W)
    clips = torch.stack([videos[:, :, clip] for clip in wanted], 1)  # (N, clips, C, frames, H, W)
    return dataset.replace(
        clips.flatten(0, 1),
        labels=dataset.labels.repeat_interleave(request.clips),
        ids=[text for name in dataset.ids for text in clip_ids(name, request.clips)],
    )


def class_names(request: Request, *, highest: int, known: Sequence[str] | None = None) -> list[str]:
    """List the names of the classes: those of the class list, or known ones, or numbers.

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
