"""`imagefolder:DIR`: image files in class folders, in split folders or not, or just images."""

import torch

from augment.dataset import Dataset
from augment.datasets.images.images import image_suffixes
from augment.datasets.images.reading import common_image_form, read_files
from augment.datasets.labelled import find_labelled_files, report_left_out
from augment.datasets.request import Request


def read_imagefolder(request: Request, *, name: str = "imagefolder") -> Dataset:
    """Read one split of a folder of images.

    Args:
        request: `target` is the folder. The classes are those of `classes`, or else the class
            folders of all splits together, so that numbers agree between splits.
        name: Name of the dataset.

    Returns:
        The dataset, decoded into memory when that takes at most 2 GiB; files that are not
        whole images are left out and named in `skipped` and the log.

    Raises:
        ValueError: No folder is given.
        RefusedInput: The folder is missing, has no readable images or no such split, or a class
            folder is not in the class list.
    """
    files = find_labelled_files(
        request, frozenset(image_suffixes()), name=name, kind="images", samples=request.samples
    )
    pixels, broken = read_files(
        files.paths, common_image_form(files.paths, files.everything, request)
    )
    skipped = report_left_out(files, broken)
    rows = [row for row in range(len(files.paths)) if row not in broken]
    return Dataset(
        pixels,
        files.labels[rows],
        [files.ids[row] for row in rows],
        name=name,
        classes=files.classes,
        skipped=skipped,
        rows=torch.tensor(rows),
    )
