"""`imagefolder:DIR`: image files in class folders, in split folders or not, or just images."""

import os
from collections.abc import Sequence
from functools import partial

from torch import Tensor

from augment.dataset import Dataset
from augment.datasets.broken import try_each
from augment.datasets.images.form import common_image_form
from augment.datasets.images.images import ImageForm, image_suffixes, read_header, read_image
from augment.datasets.images.reading import FileSource, read_labelled
from augment.datasets.labelled import find_labelled_files
from augment.datasets.request import Request

_WORTH_THREADS = 128 * 128  # smaller images cost less to decode than threads to agree


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
    files = find_labelled_files(request, image_suffixes(), name=name, kind="images")
    form = common_image_form(files, request)
    shape = (form.channels, form.height, form.width)
    threads = 1 if form.height * form.width < _WORTH_THREADS else os.cpu_count() or 1
    source = FileSource(files.paths, partial(_decode, form), shape, threads=threads)
    broken = {} if source.fits else try_each(read_header, files.paths)[1]
    return read_labelled(files, source, broken, name=name)


def _decode(form: ImageForm, path: str, _: Sequence[int]) -> Tensor:
    """Decode the one sample of a file `(1, C, H, W)` uint8."""
    return read_image(path, form)[None]
