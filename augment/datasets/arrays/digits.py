"""The embedded default: scikit-learn's 1797 handwritten digits, 8 x 8, grey."""

import numpy as np
import torch
from torch import Tensor

from augment.dataset import Dataset
from augment.datasets.arrays.arrays import class_names
from augment.datasets.request import Request
from augment.splits import Split

TEST, VAL = 360, 180


def read_digits(request: Request) -> Dataset:
    """Read one split of the digits: 1257 to train, 180 to validate, 360 to test, stratified.

    Raises:
        ValueError: Something stands after `digits:`.
    """
    if request.target:
        raise ValueError(f"digits:{request.target}: digits takes no folder; write `digits`")
    images, labels = load_sixteenths()
    everything = Dataset(
        (images / 16).float()[:, None],  # (1797, 1, 8, 8)
        labels,
        [f"{i:04d}" for i in range(len(labels))],
        name="digits",
        classes=class_names(request, highest=9, known=[str(digit) for digit in range(10)]),
    )
    return everything.subset(split_rows(labels)[request.split])


def load_sixteenths() -> tuple[Tensor, Tensor]:
    """Load the digits `(1797, 8, 8)`, whole numbers from 0 to 16, and their labels `(1797,)`."""
    # scikit-learn takes a second to import, which other sources need not wait.
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)  # (1797, 64), (1797,)
    return torch.from_numpy(images).view(-1, 8, 8), torch.from_numpy(labels)


def split_rows(labels: Tensor) -> dict[Split, list[int]]:
    """List the rows of each split, ascending; labels are those of `load_sixteenths`."""
    from sklearn.model_selection import train_test_split

    y = labels.numpy()
    rest, test = train_test_split(np.arange(len(y)), test_size=TEST, stratify=y, random_state=0)
    train, val = train_test_split(rest, test_size=VAL, stratify=y[rest], random_state=0)
    return {"train": sorted(train), "val": sorted(val), "test": sorted(test)}
