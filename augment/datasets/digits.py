"""The embedded default: scikit-learn's 1797 handwritten digits, 8 x 8, grey."""

import numpy as np
import torch

from augment.dataset import Dataset
from augment.datasets.arrays import class_names
from augment.datasets.request import Request

TEST, VAL = 360, 180


def read_digits(request: Request) -> Dataset:
    """One split of the digits: 1257 to train, 180 to validate, 360 to test, stratified.

    Raises:
        ValueError: Something stands after `digits:`.
    """
    # scikit-learn takes a second to import, which other sources need not wait.
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    if request.target:
        raise ValueError(f"digits:{request.target}: digits takes no folder; write `digits`")
    images, labels = load_digits(return_X_y=True)  # (1797, 64) in 0..16, (1797,)
    pixels = torch.from_numpy(images / 16).float().view(-1, 1, 8, 8)  # (1797, 1, 8, 8)
    rest, test = train_test_split(
        np.arange(len(labels)), test_size=TEST, stratify=labels, random_state=0
    )
    train, val = train_test_split(rest, test_size=VAL, stratify=labels[rest], random_state=0)
    names = [str(digit) for digit in range(10)]
    everything = Dataset(
        pixels,
        torch.from_numpy(labels),
        [f"{i:04d}" for i in range(len(labels))],
        name="digits",
        classes=class_names(request, highest=9, known=names),
    )
    return everything.subset(sorted({"train": train, "val": val, "test": test}[request.split]))
