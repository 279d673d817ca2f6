"""`torchvision:NAME[:ROOT]`, or NAME alone: torchvision's datasets of small images."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np

from attacks.errors import RefusedInput
from augment.dataset import Dataset
from augment.datasets.arrays.arrays import ArrayPart, build_dataset
from augment.datasets.broken import BROKEN
from augment.datasets.request import Request

NAMES = ("CIFAR10", "CIFAR100", "FashionMNIST", "KMNIST", "MNIST", "STL10", "SVHN", "USPS")
DEFAULT_ROOT = "data"


def read_torchvision(request: Request) -> Dataset:
    """Read one split of a torchvision dataset; a tenth of its training images validates.

    Args:
        request: `target` is NAME or NAME:ROOT; the files are in ROOT, else in `data`.

    Raises:
        ValueError: Not one of `NAMES`.
        RefusedInput: The files are missing and may not be fetched, or they are broken.
    """
    name, _, root = request.target.partition(":")
    if name not in NAMES:
        raise ValueError(
            f"torchvision:{request.target}: known are {', '.join(NAMES)}; unpack others into "
            "class folders and write imagefolder:DIR"
        )
    home = "test" if request.split == "test" else "train"
    folder = Path(root or DEFAULT_ROOT).expanduser()
    data = _open(name, folder, home, download=request.download)
    labels = np.asarray(data.targets if hasattr(data, "targets") else data.labels)
    part = ArrayPart(lambda: np.asarray(data.data), labels)
    names = getattr(data, "classes", None)
    return build_dataset({home: part}, request, name=name, origin=f"{folder} ({name})", known=names)


def _open(name: str, folder: Path, home: str, *, download: bool) -> Any:
    import torchvision  # takes a second, which other sources need not wait

    kind = getattr(torchvision.datasets, name)
    by_flag = "train" in inspect.signature(kind).parameters
    part = {"train": home == "train"} if by_flag else {"split": home}
    try:
        return kind(str(folder), **part, download=download)
    except (*BROKEN, RuntimeError) as error:
        advice = "check the connection" if download else "add --download to fetch it"
        raise RefusedInput(
            f"{folder}: cannot read {name} there ({error}); {advice}, or name its folder: "
            f"torchvision:{name}:DIR"
        ) from error
