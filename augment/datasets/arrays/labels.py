"""From arrays that nobody has checked to class ids `(N,)`."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attacks.errors import RefusedInput

MOST_CLASSES = 100_000  # a name is kept for each; a larger number is hardly a class id
MOST_BYTES = 2**30


def check_label_type(
    shape: Sequence[int], dtype: np.dtype[np.generic], *, count: int, origin: str
) -> None:
    """Check shape and type of an array of labels, before the array is read.

    Args:
        shape: Its shape.
        dtype: Its type.
        count: Number of samples.
        origin: File and name of the array, for messages.

    Raises:
        RefusedInput: It cannot hold a class id for each sample.
    """
    if dtype.kind in "USO":
        raise RefusedInput(
            f"{origin}: {_describe_type(dtype)}; store {count} whole numbers, one class id per "
            "sample (np.unique(y, return_inverse=True)[1] makes them of names)"
        )
    one_hot = len(shape) == 2 and shape[0] == count and 1 <= shape[1] <= MOST_CLASSES
    if dtype.kind not in "biuf" or (tuple(shape) != (count,) and not one_hot):
        raise _ids_error(shape, dtype, count, origin)
    if math.prod(shape) * dtype.itemsize > MOST_BYTES:
        raise RefusedInput(
            f"{origin}: {tuple(shape)} {dtype} take more than {MOST_BYTES} bytes; store {count} "
            "whole numbers, one class id per sample"
        )


def to_labels(array: NDArray[np.generic], *, count: int, origin: str) -> Tensor:
    """Convert an array to class ids `(N,)` int64, at least 0, or -1 for unlabelled.

    Args:
        array: Whole numbers `(N,)` or `(N, 1)` of any type, or one-hot rows `(N, K)`.
        count: N.
        origin: File and name of the array, for messages.

    Raises:
        RefusedInput: Not N class ids.
    """
    check_label_type(array.shape, array.dtype, count=count, origin=origin)
    if array.ndim == 2 and array.shape[1] > 1:
        ones, zeros = array == 1, array == 0  # (N, K)
        if not (ones.sum(1) == 1).all() or not (ones | zeros).all():
            raise _ids_error(array.shape, array.dtype, count, origin)
        return torch.from_numpy(ones.argmax(1).astype(np.int64))
    labels = array.reshape(-1)  # (N,)
    if labels.dtype.kind == "f":
        if bad := int((~np.isfinite(labels)).sum()):
            raise RefusedInput(
                f"{origin}: {bad} of {count} are NaN or infinite; store {count} whole numbers, "
                "-1 for unlabelled"
            )
        if not (labels == np.rint(labels)).all():
            raise _ids_error(array.shape, array.dtype, count, origin)
    if count and not (labels.min() >= -1 and labels.max() < MOST_CLASSES):
        raise RefusedInput(
            f"{origin}: values from {labels.min()} to {labels.max()}; class ids count from 0 to "
            f"at most {MOST_CLASSES - 1}, -1 is unlabelled; number the classes anew"
        )
    return torch.from_numpy(labels.astype(np.int64))


def _describe_type(dtype: np.dtype[np.generic]) -> str:
    return "pickled objects, which could run code" if dtype.kind == "O" else f"text ({dtype})"


def _ids_error(
    shape: Sequence[int], dtype: np.dtype[np.generic], count: int, origin: str
) -> RefusedInput:
    return RefusedInput(
        f"{origin}: {str(dtype)[:50]} of shape {str(tuple(shape))[:50]}; store {count} whole "
        "numbers, one class id per sample, or one-hot rows"
    )
