"""`npz:FILE`: arrays x_train, y_train, x_val, y_val, x_test, y_test; or x and y alone."""

import io
import math
import zipfile
import zlib
from functools import partial
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from attacks.errors import RefusedInput
from augment.dataset import Dataset
from augment.datasets.arrays import Array, Part, dataset_of
from augment.datasets.request import Request
from augment.splits import SPLITS

MOST_BYTES = 8 * 2**30
_HEAD = 8192  # bytes of a member that are read before its header is believed
_BROKEN = (
    EOFError,
    MemoryError,
    NotImplementedError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_npz(request: Request) -> Dataset:
    """One split of an npz file.

    Images are uint8 or floats in [0, 1], (N, H, W), (N, C, H, W) or (N, H, W, C); videos
    (N, C, T, H, W) or (N, T, H, W, C); labels whole numbers. Without x_val, a tenth of x_train is
    the validation split; without x_test, x_val is the test split. Plain x and y are cut
    80 : 10 : 10; x alone is unlabelled and not cut.

    Args:
        request: `target` is the file.

    Raises:
        ValueError: No file is given.
        RefusedInput: The file is missing, broken, pickled, too large, or lacks the split.
    """
    if not request.target:
        raise ValueError("npz: no file given; write npz:FILE")
    path = Path(request.target).expanduser()
    names = _checked_names(path)
    parts: dict[str | None, Part] = {
        part: Part(
            partial(_read, path, f"x{end}"),
            _read(path, f"y{end}") if f"y{end}" in names else None,
        )
        for part, end in [(None, ""), *((split, f"_{split}") for split in SPLITS)]
        if f"x{end}" in names
    }
    if len(parts) > 1:
        parts.pop(None, None)
    if not parts:
        raise RefusedInput(
            f"{path}: holds {sorted(names)}; name the arrays x_train, y_train, x_test, y_test"
        )
    return dataset_of(parts, request, name="npz", origin=str(path))


def _checked_names(path: Path) -> set[str]:
    """Names of the arrays in a file, none of which lies about its size or holds objects."""
    if not path.is_file():
        raise RefusedInput(f"{path}: no such file; write npz:FILE with an existing one")
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if m.filename.endswith(".npy")]
            total = sum(member.file_size for member in members)
            if total > MOST_BYTES:
                raise ValueError(f"{total} bytes unpacked, at most {MOST_BYTES} are read")
            for member in members:
                _check_member(archive, member)
    except _BROKEN as error:
        raise _refused(path, error) from error
    return {member.filename.removesuffix(".npy") for member in members}


def _check_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    with archive.open(member) as file:
        head = io.BytesIO(file.read(_HEAD))
    version = npy.read_magic(head)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"{member.filename} has format version {version}, not 1.0 or 2.0")
    shape, _, dtype = read(head)
    if dtype.hasobject:
        raise ValueError(f"{member.filename} holds pickled objects, which could run code")
    if math.prod(shape) * dtype.itemsize != member.file_size - head.tell():
        raise ValueError(f"{member.filename} promises {dtype} of shape {shape}, but is not as long")


def _read(path: Path, name: str) -> Array:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            array: Array = arrays[name]
            return array
    except (*_BROKEN, KeyError) as error:
        raise _refused(path, error) from error


def _refused(path: Path, error: BaseException) -> RefusedInput:
    return RefusedInput(f"{path}: {error}; write it anew with numpy.savez and plain number arrays")
