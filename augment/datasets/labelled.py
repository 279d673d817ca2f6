"""Labelled files of a data folder: what image and video folders have in common."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from attacks.errors import RefusedInput
from augment.datasets.classlist import ClassList, classes_of_folders, read_class_list
from augment.datasets.folders import DataFile, files_of_split, list_files
from augment.datasets.request import Request
from augment.splits import balanced

logger = logging.getLogger(__name__)
NAMED = 10  # files left out that are named aloud; the log's finest level has all


@dataclass(frozen=True)
class Labelled:
    """The files of one split.

    Attributes:
        root: The data folder.
        kind: What the files are, for messages: `images` or `videos`.
        paths: The files of the split.
        ids: A stable id for each.
        labels: `(N,)` int64; -1 where unlabelled.
        classes: Names of the classes.
        everything: All files of the data folder.
        skipped: A line for each folder that could not be read.
    """

    root: Path
    kind: str
    paths: list[str]
    ids: list[str]
    labels: Tensor
    classes: list[str]
    everything: list[str]
    skipped: list[str]


def labelled_files(
    request: Request, suffixes: frozenset[str], *, name: str, kind: str, samples: int | None
) -> Labelled:
    """The files of one split of a folder with class folders, split folders, both or neither.

    Args:
        request: `target` is the folder. The classes are those of `classes`, or else the class
            folders of all splits together, so that numbers agree between splits.
        suffixes: Lower-case suffixes of the files, with their dot.
        name: Name of the dataset.
        kind: What the files are, for messages.
        samples: Size of a class-balanced subset, or None for all.

    Raises:
        ValueError: No folder is given.
        RefusedInput: The folder is missing, has no such files or no such split, or a class folder
            is not in the class list.
    """
    root = data_folder(request.target, name)
    files, skipped = list_files(root, suffixes)
    chosen = files_of_split(files, request.split, root=root)
    if request.split == "train":
        _warn_of_untrained(root, files, chosen, kind)
    classes = read_class_list(request.classes) if request.classes else _classes(files)
    labels = torch.tensor([_label(file, classes) for file in chosen], dtype=torch.int64)
    if samples is not None:
        kept = balanced(labels, samples, seed=request.seed)
        chosen, labels = [chosen[i] for i in kept], labels[kept]
    if not chosen:
        raise RefusedInput(
            f"{root}: no {kind} for the {request.split} split; put some into "
            f"{root / request.split}/CLASS"
        )
    return Labelled(
        root,
        kind,
        _paths(root, chosen),
        [file.name for file in chosen],
        labels,
        classes.names,
        _paths(root, files),
        skipped,
    )


def data_folder(target: str, name: str) -> Path:
    """The data folder that a spec names.

    Raises:
        ValueError: It names none.
        RefusedInput: It is not there.
    """
    if not target:
        raise ValueError(f"{name}: no folder given; write {name}:DIR")
    root = Path(target).expanduser()
    if not root.is_dir():
        raise RefusedInput(f"{root}: no such folder; write {name}:DIR with an existing one")
    return root


def _paths(root: Path, files: Sequence[DataFile]) -> list[str]:
    return [str(root / file.path) for file in files]


def report(files: Labelled, skipped: Sequence[str], *, readable: int) -> None:
    """Name the files that were left out.

    Raises:
        RefusedInput: None of the files can be read.
    """
    if not readable:
        raise RefusedInput(
            f"{files.root}: none of the {len(files.paths)} {files.kind} can be read "
            f"({'; '.join(skipped[:3])}); put whole {files.kind} there"
        )
    for line in skipped[:NAMED]:
        logger.warning("left out %s", line)
    for line in skipped[NAMED:]:
        logger.debug("left out %s", line)
    if (more := len(skipped) - NAMED) > 0:
        logger.warning(
            "left out %d more files, %d in all; the run's log.txt names them", more, len(skipped)
        )


def _classes(files: Sequence[DataFile]) -> ClassList:
    return classes_of_folders(_class_folders(files))


def _class_folders(files: Sequence[DataFile]) -> set[str]:
    """All class folders of all splits; beside split folders nothing is a class."""
    in_splits = any(file.split for file in files)
    return {file.folder for file in files if file.folder and bool(file.split) == in_splits}


def _warn_of_untrained(
    root: Path, files: Sequence[DataFile], train: Sequence[DataFile], kind: str
) -> None:
    """Name the class folders that other splits have and the training split has not."""
    missing = sorted(_class_folders(files) - {file.folder for file in train if file.folder})
    if missing:
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        logger.warning(
            "%s: no training %s in the class folders %s%s, which other splits have; the "
            "classifier is never trained on them; add training samples or remove these folders",
            root,
            kind,
            ", ".join(missing[:NAMED]),
            more,
        )


def _label(file: DataFile, classes: ClassList) -> int:
    return -1 if file.folder is None else classes.id_of(file.folder)
