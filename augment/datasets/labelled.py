"""Labelled files of a data folder, of images or videos."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from attacks.errors import RefusedInput
from augment.datasets.classlist import classes_of_folders, read_class_list
from augment.datasets.folders import DataFile, DataFolder, files_of_split, read_folder
from augment.datasets.request import Request
from augment.splits import Split, choose_balanced

logger = logging.getLogger(__name__)
NAMED = 10  # files or classes that are named aloud; the log's finest level has all files left out
_WORDS: dict[Split, tuple[str, str]] = {
    "train": (
        "training",
        "the classifier is never trained on them; add training samples or remove these folders",
    ),
    "val": ("validation", "nothing is measured on them; add validation samples"),
    "test": ("test", "nothing is measured on them; add test samples"),
}


@dataclass(frozen=True)
class LabelledFiles:
    """The files of one split.

    Attributes:
        root: The data folder.
        kind: `images` or `videos`, for messages.
        split: The split.
        paths: The files of the split that are wanted.
        ids: A stable id for each.
        folders: The class folder of each, or None.
        labels: `(N,)` int64; -1 where unlabelled.
        classes: Names of the classes.
        counts: How many files of the split each class folder has, wanted or not.
        totals: How many files of all splits it has.
        everything: The files of all splits; the common form is theirs.
        skipped: A line for each folder that could not be read.
    """

    root: Path
    kind: str
    split: Split
    paths: list[str]
    ids: list[str]
    folders: list[str | None]
    labels: Tensor
    classes: list[str]
    counts: Counter[str]
    totals: Counter[str]
    everything: list[str]
    skipped: list[str]


def find_labelled_files(
    request: Request, suffixes: frozenset[str], *, name: str, kind: str, samples: int | None
) -> LabelledFiles:
    """Find the files of one split of a folder with class folders, split folders, both or neither.

    Args:
        request: `target` is the folder. The classes are those of `classes`, or else the class
            folders of all splits together, so that numbers agree between splits.
        suffixes: Lower-case suffixes of the files, with their dot.
        name: Name of the dataset.
        kind: `images` or `videos`, for messages.
        samples: Size of a class-balanced subset, or None for all.

    Raises:
        ValueError: No folder is given.
        RefusedInput: The folder is missing, has no such files or no such split, a class folder
            is not in the class list, or it is not clear which folder is which split.
    """
    root = data_folder(request.target, name)
    folder = read_folder(root, suffixes)
    _log_layout(root, folder, kind)
    chosen = files_of_split(folder, request.split, root=root)
    classes = (
        read_class_list(request.classes) if request.classes else classes_of_folders(folder.classes)
    )
    ids = [-1 if file.folder is None else classes.id_of(file.folder) for file in chosen]
    labels = torch.tensor(ids, dtype=torch.int64)
    counts = _count_files(chosen, folder.classes)
    if samples is not None:
        kept = choose_balanced(labels, samples, seed=request.seed)
        chosen, labels = [chosen[i] for i in kept], labels[kept]
    if not chosen:
        place = root / folder.splits.get(request.split, request.split)
        raise RefusedInput(
            f"{root}: no {kind} for the {request.split} split; put some into {place}/CLASS"
        )
    return LabelledFiles(
        root,
        kind,
        request.split,
        [str(root / file.path) for file in chosen],
        [file.name for file in chosen],
        [file.folder for file in chosen],
        labels,
        classes.names,
        counts,
        _count_files(folder.files, folder.classes),
        [str(root / file.path) for file in folder.files],
        folder.problems,
    )


def data_folder(target: str, name: str) -> Path:
    """Return the data folder that a spec names.

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


def report_left_out(files: LabelledFiles, broken: Mapping[int, str]) -> list[str]:
    """Log the files that were left out, and the class folders without a readable file.

    Args:
        files: The files of the split.
        broken: A line of why for each unreadable file, by place.

    Returns:
        A line for each file or folder left out.

    Raises:
        RefusedInput: None of the files can be read.
    """
    skipped = [*files.skipped, *broken.values()]
    if len(broken) == len(files.paths):
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
    lost = Counter(folder for i in broken if (folder := files.folders[i]) is not None)
    _log_empty(files, lost)
    return skipped


def _log_empty(files: LabelledFiles, lost: Counter[str]) -> None:
    """Log the class folders without a readable file of the split."""
    empty = [name for name, count in files.counts.items() if count <= lost[name]]
    if not empty or len(empty) == len(files.counts):
        return
    nowhere = [name for name in empty if files.totals[name] <= lost[name]]
    if nowhere:
        logger.warning(
            "%s: no %s that can be read in the class folders %s; they keep their class ids, and "
            "no sample is of them",
            files.root,
            files.kind,
            _join_some(nowhere),
        )
    if missing := [name for name in empty if name not in nowhere]:
        word, meaning = _WORDS[files.split]
        logger.warning(
            "%s: no %s %s in the class folders %s, which other splits have; %s",
            files.root,
            word,
            files.kind,
            _join_some(missing),
            meaning,
        )


def _count_files(files: Sequence[DataFile], classes: Sequence[str]) -> Counter[str]:
    """Count the files of each class folder, empty ones included."""
    counts = Counter(dict.fromkeys(classes, 0))
    counts.update(file.folder for file in files if file.folder is not None)
    return counts


def _log_layout(root: Path, folder: DataFolder, kind: str) -> None:
    """Log surprising roles of folders, shared samples, and files of unknown suffixes."""
    told = [f"{name} for the {split} split" for split, name in folder.splits.items()]
    if any(split != name for split, name in folder.splits.items()) or folder.unused:
        unused = f"; not read: {_join_some(folder.unused)}" if folder.unused else ""
        logger.info("%s: takes %s%s", root, ", ".join(told), unused)
    places = {name: (root / name).resolve() for name in folder.splits.values()}
    if len(set(places.values())) < len(places):
        told = [f"{name} in {place}" for name, place in places.items()]
        logger.warning(
            "%s: splits have the same samples (%s), so that what is learnt from one is measured "
            "on itself; replace the link by samples of its own",
            root,
            ", ".join(told),
        )
    if folder.others:
        found = [
            f"{count} {suffix or 'without suffix'}"
            for suffix, count in sorted(folder.others.items())
        ]
        logger.info(
            "%s: not read, as not known for %s by their suffixes: %s", root, kind, _join_some(found)
        )


def _join_some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
