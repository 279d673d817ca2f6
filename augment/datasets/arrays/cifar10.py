"""`cifar10:DIR`: the official archive's python batches, or CIFAR-10 as an image folder."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from attacks.errors import RefusedInput
from augment.dataset import Dataset
from augment.datasets.arrays.arrays import Array, ArrayPart, build_dataset
from augment.datasets.broken import BROKEN
from augment.datasets.images.imagefolder import read_imagefolder
from augment.datasets.request import Request

CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
MOST_BYTES = 2**26  # an official batch takes 31 million
_TRAIN = tuple(f"data_batch_{i}" for i in range(1, 6))
_TEST = ("test_batch",)


def read_cifar10(request: Request) -> Dataset:
    """Read one split of CIFAR-10; a tenth of the training images is the validation split.

    Args:
        request: `target` is the folder `cifar-10-batches-py`, the one that holds it, or an image
            folder.

    Raises:
        ValueError: No folder is given.
        RefusedInput: A batch is missing, broken or holds anything but arrays.
    """
    root = Path(request.target).expanduser()
    for folder in (root, root / "cifar-10-batches-py"):
        if request.target and (folder / _TRAIN[0]).is_file():
            return _read_batches(folder, request)
    return read_imagefolder(request, name="cifar10")


def _read_batches(folder: Path, request: Request) -> Dataset:
    names = _TEST if request.split == "test" else _TRAIN
    read = [_read_batch(folder / name) for name in names]
    images = np.concatenate([x for x, _ in read])  # (N, 3, 32, 32)
    part = ArrayPart(lambda: images, np.concatenate([y for _, y in read]))
    home = "test" if request.split == "test" else "train"
    return build_dataset({home: part}, request, name="cifar10", origin=str(folder), known=CLASSES)


def _read_batch(path: Path) -> tuple[Array, Array]:
    """Images `(N, 3, 32, 32)` uint8 and labels `(N,)` of one batch file."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES} bytes")
        with path.open("rb") as file:
            content = _ArraysOnly(file, encoding="bytes").load()
        data, labels = content[b"data"], np.asarray(content[b"labels"])
        if not isinstance(data, _Bytes) or len(data.raw) != len(labels) * 3072:
            raise ValueError("data is not an array of bytes, 3072 an image and label")
        if labels.ndim != 1 or not set(labels.tolist()) <= set(range(10)):
            raise ValueError("labels are not one number from 0 to 9 per image")
        return np.frombuffer(data.raw, np.uint8).reshape(-1, 3, 32, 32).copy(), labels
    except _BROKEN as error:
        raise RefusedInput(
            f"{path}: {error}; unpack the official cifar-10-python.tar.gz again"
        ) from error


class _DType:
    """Stands in for numpy's dtype: a pickle may say which type it is, and nothing happens."""

    def __init__(self, kind: str | bytes, *_: object) -> None:
        self.is_byte = kind in ("u1", b"u1")

    def __setstate__(self, _: object) -> None:
        pass


class _Bytes:
    """Stands in for numpy's array, whose own unpickling does not withstand hostile states."""

    raw = b""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: tuple[Any, Any, _DType, bool, bytes]) -> None:
        _, _, dtype, by_columns, raw = state
        if not dtype.is_byte or by_columns or not isinstance(raw, bytes):
            raise ValueError("data is not an array of bytes, 3072 an image and label")
        self.raw = raw


def _latin1(text: str, _: object) -> bytes:
    """Decode bytes that Python 3 pickled with protocol 2."""
    return text.encode("latin1")


_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _Bytes,
    ("numpy._core.multiarray", "_reconstruct"): _Bytes,
    ("numpy", "ndarray"): _Bytes,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _latin1,
}


class _ArraysOnly(pickle.Unpickler):
    """Reads the arrays of a pickle and refuses everything that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        """Stand-ins for numpy's array makers; any other name is refused."""
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it calls {module}.{name}, which could run code")
        return _ALLOWED[module, name]


_BROKEN = (*BROKEN, pickle.UnpicklingError)
