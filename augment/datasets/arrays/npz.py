"""`npz:FILE`: arrays x_train, y_train, x_val, y_val, x_test, y_test; or x and y alone."""

import io
import logging
import math
import tokenize
import zipfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from attacks.errors import RefusedInput
from augment.dataset import Dataset
from augment.datasets.arrays.arrays import (
    Array,
    ArrayHeader,
    ArrayPart,
    build_dataset,
    check_label_type,
    pixel_shape,
    to_labels,
)
from augment.datasets.broken import BROKEN, describe_error
from augment.datasets.request import Request
from augment.splits import SPLITS, Split

logger = logging.getLogger(__name__)
MOST_BYTES = 8 * 2**30
MOST_MEMBERS = 1000
BOMB_BYTES = 2**28  # from here on, bytes that were packed tighter than BOMB_RATIO are a bomb
BOMB_RATIO = 200
_HEAD = 8192  # bytes of a member that are read before its header is believed
_BROKEN = (*BROKEN, RuntimeError, tokenize.TokenError, zipfile.BadZipFile)


def read_npz(request: Request) -> Dataset:
    """Read one split of an npz file.

    Images are uint8 or floats in [0, 1], (N, H, W), (N, C, H, W) or (N, H, W, C); videos
    (N, C, T, H, W) or (N, T, H, W, C); labels whole numbers (N,) or (N, 1), or one-hot (N, K).
    Without x_val, a tenth of x_train is the validation split; without x_test, x_val is the test
    split. Plain x and y are cut 80 : 10 : 10; x alone is unlabelled and not cut.

    Args:
        request: `target` is the file.

    Raises:
        ValueError: No file is given.
        RefusedInput: The file is missing, broken, pickled, too large, or lacks the split, or its
            parts have several sizes.
    """
    if not request.target:
        raise ValueError("npz: no file given; write npz:FILE")
    path = Path(request.target).expanduser()
    headers = _read_headers(path)
    ends: dict[Split | None, str] = {None: "", **{split: f"_{split}" for split in SPLITS}}
    held = str(sorted(headers))[:200]
    lone = [f"y{e}" for e in ends.values() if f"y{e}" in headers and f"x{e}" not in headers]
    if lone:
        raise RefusedInput(
            f"{path}: {lone[0]} has no {lone[0].replace('y', 'x', 1)} beside it; the file holds "
            f"{held}"
        )
    named = {part: end for part, end in ends.items() if f"x{end}" in headers}
    if not named:
        raise RefusedInput(
            f"{path}: holds {held}; name the arrays x_train, y_train, x_test, y_test"
        )
    if len(named) > 1 and None in named:
        logger.warning("%s: x is not read, as there are %s", path, held)
        named.pop(None)
    parts: dict[str | None, ArrayPart] = {
        part: _read_part(path, headers, end) for part, end in named.items()
    }
    return build_dataset(parts, request, name="npz", origin=str(path))


def _read_part(path: Path, headers: Mapping[str, ArrayHeader], end: str) -> ArrayPart:
    """Read one part of the file: checked labels, and a function that reads the pixels."""
    x, y = headers[f"x{end}"], headers.get(f"y{end}")
    shape = pixel_shape(x, origin=f"{path}: x{end}")
    labels = None
    if y is not None:
        origin = f"{path}: y{end}"
        check_label_type(y, count=shape[0], origin=origin)
        labels = to_labels(_read_array(path, f"y{end}"), count=shape[0], origin=origin).numpy()
    return ArrayPart(partial(_read_array, path, f"x{end}"), labels, shape)


def _read_headers(path: Path) -> dict[str, ArrayHeader]:
    """Read the array headers of a file; none lies about its size or holds objects."""
    if not path.is_file():
        raise RefusedInput(f"{path}: no such file; write npz:FILE with an existing one")
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if m.filename.endswith(".npy")]
            total = sum(member.file_size for member in members)
            if total > MOST_BYTES:
                raise ValueError(f"{total} bytes unpacked, at most {MOST_BYTES} are read")
            if len(members) > MOST_MEMBERS:
                raise ValueError(f"{len(members)} arrays, at most {MOST_MEMBERS} are read")
            return {m.filename.removesuffix(".npy"): _read_header(archive, m) for m in members}
    except _BROKEN as error:
        raise _refusal(path, error) from error


def _read_header(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> ArrayHeader:
    """Read the header of one array, after a check of its compression."""
    name, size = member.filename[:100], member.file_size
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} is packed by method {member.compress_type}, not 0 or 8 (deflate)")
    if size > BOMB_BYTES and size > BOMB_RATIO * member.compress_size:
        raise ValueError(f"{name} unpacks {member.compress_size} bytes to {size}, as bombs do")
    with archive.open(member) as file:
        head = io.BytesIO(file.read(_HEAD))
    version = npy.read_magic(head)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"{name} has format version {version}, not 1.0 or 2.0")
    shape, _, dtype = read(head)
    if dtype.hasobject:
        raise ValueError(f"{name} holds pickled objects, which could run code")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != size - head.tell():
        promised = f"{str(dtype)[:50]} of shape {str(shape)[:100]}"
        raise ValueError(f"{name} promises {promised}, but is not as long")
    return ArrayHeader(shape, dtype)


def _read_array(path: Path, name: str) -> Array:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            array: Array = arrays[name]
            return array
    except _BROKEN as error:
        raise _refusal(path, error) from error


def _refusal(path: Path, error: BaseException) -> RefusedInput:
    return RefusedInput(
        f"{path}: {describe_error(error)}; write it anew with numpy.savez and plain number arrays"
    )
