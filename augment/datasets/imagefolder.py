"""`imagefolder:DIR`: image files in class folders, in split folders or not, or just images."""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from attacks.errors import RefusedInput
from augment.dataset import Dataset
from augment.datasets.classlist import ClassList, classes_of_folders, read_class_list
from augment.datasets.folders import ImageFile, files_of_split, list_files
from augment.datasets.images import SUFFIXES
from augment.datasets.reading import common_fit, read_files
from augment.datasets.request import Request
from augment.splits import balanced

logger = logging.getLogger(__name__)
NAMED = 10  # files left out that are named aloud; the log's finest level has all


def read_imagefolder(request: Request, *, name: str = "imagefolder") -> Dataset:
    """One split of a folder of images.

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
    root = _folder(request.target, name)
    files, skipped = list_files(root, SUFFIXES)
    chosen = files_of_split(files, request.split, root=root)
    if request.split == "train":
        _warn_of_untrained(root, files, chosen)
    classes = read_class_list(request.classes) if request.classes else _classes(files)
    labels = torch.tensor([_label(file, classes) for file in chosen], dtype=torch.int64)
    if request.samples is not None:
        kept = balanced(labels, request.samples, seed=request.seed)
        chosen, labels = [chosen[i] for i in kept], labels[kept]
    if not chosen:
        raise RefusedInput(
            f"{root}: no images for the {request.split} split; put some into "
            f"{root / request.split}/CLASS"
        )
    paths, everything = _paths(root, chosen), _paths(root, files)
    pixels, broken = read_files(paths, common_fit(paths, everything, size=request.size))
    skipped += broken.values()
    rows = [row for row in range(len(paths)) if row not in broken]
    _report(root, skipped, readable=len(rows), asked=len(paths))
    return Dataset(
        pixels,
        labels[rows],
        [chosen[row].name for row in rows],
        name=name,
        classes=classes.names,
        skipped=skipped,
        rows=torch.tensor(rows),
    )


def _folder(target: str, name: str) -> Path:
    if not target:
        raise ValueError(f"{name}: no folder given; write {name}:DIR")
    root = Path(target).expanduser()
    if not root.is_dir():
        raise RefusedInput(f"{root}: no such folder; write {name}:DIR with an existing one")
    return root


def _paths(root: Path, files: Sequence[ImageFile]) -> list[str]:
    return [str(root / file.path) for file in files]


def _report(root: Path, skipped: Sequence[str], *, readable: int, asked: int) -> None:
    if not readable:
        raise RefusedInput(
            f"{root}: none of the {asked} images can be read ({'; '.join(skipped[:3])}); "
            "put whole image files there"
        )
    for line in skipped[:NAMED]:
        logger.warning("left out %s", line)
    for line in skipped[NAMED:]:
        logger.debug("left out %s", line)
    if (more := len(skipped) - NAMED) > 0:
        logger.warning(
            "left out %d more files, %d in all; the run's log.txt names them", more, len(skipped)
        )


def _classes(files: Sequence[ImageFile]) -> ClassList:
    return classes_of_folders(_class_folders(files))


def _class_folders(files: Sequence[ImageFile]) -> set[str]:
    """All class folders of all splits; beside split folders nothing is a class."""
    in_splits = any(file.split for file in files)
    return {file.folder for file in files if file.folder and bool(file.split) == in_splits}


def _warn_of_untrained(root: Path, files: Sequence[ImageFile], train: Sequence[ImageFile]) -> None:
    """Name the class folders that other splits have and the training split has not."""
    missing = sorted(_class_folders(files) - {file.folder for file in train if file.folder})
    if missing:
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        logger.warning(
            "%s: no training images in the class folders %s%s, which other splits have; the "
            "classifier is never trained on them; add training images or remove these folders",
            root,
            ", ".join(missing[:NAMED]),
            more,
        )


def _label(file: ImageFile, classes: ClassList) -> int:
    return -1 if file.folder is None else classes.id_of(file.folder)
