"""Labelled files of a data folder, of images or videos."""

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from attacks.errors import RefusedInput
from augment.datasets.broken import describe_error
from augment.datasets.classlist import ClassList, classes_of_folders, read_class_list
from augment.datasets.folders import DataFile, DataFolder, files_of_split, join_some, read_folder
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
        folder: The contents of the data folder.
        kind: `images` or `videos`, for messages.
        split: The split.
        chosen: The files of the split.
        wanted: Those of them that are wanted.
        labels: `(N,)` int64, of the wanted; -1 where unlabelled.
        classes: Names of the classes.
    """

    folder: DataFolder
    kind: str
    split: Split
    chosen: Sequence[DataFile]
    wanted: Sequence[DataFile]
    labels: Tensor
    classes: list[str]

    @cached_property
    def paths(self) -> list[str]:
        """The paths of the wanted files."""
        return self.folder.paths(self.wanted)


def find_labelled_files(
    request: Request, suffixes: Collection[str], *, name: str, kind: str
) -> LabelledFiles:
    """Find the files of one split of a folder with class folders, split folders, both or neither.

    Args:
        request: As of `label_files`; `target` is the folder.
        suffixes: Lower-case suffixes of the files, with their dot.
        name: Name of the dataset.
        kind: `images` or `videos`, for messages.

    Raises:
        ValueError: No folder is given.
        RefusedInput: The folder is missing, has no such files or no such split, a class folder
            is not in the class list, or it is not clear which folder is which split.
    """
    folder = read_folder(data_folder(request.target, name), suffixes)
    _log_layout(folder, kind)
    chosen = files_of_split(folder, request.split)
    if not chosen:
        place = folder.root / folder.splits.get(request.split, request.split)
        raise RefusedInput(
            f"{folder.root}: no {kind} for the {request.split} split; put some into {place}/CLASS"
        )
    return label_files(folder, chosen, request, kind=kind)


def label_files(
    folder: DataFolder,
    chosen: Sequence[DataFile],
    request: Request,
    *,
    kind: str,
    classes: ClassList | None = None,
) -> LabelledFiles:
    """Label the files of one split, and select as many as are asked for.

    Args:
        folder: The contents of the data folder.
        chosen: The files of the split.
        request: The classes are those of `classes`, or else the class folders of all splits
            together, so that numbers agree between splits. `samples` files are selected, fewer
            where one gives several clips.
        kind: `images` or `videos`, for messages.
        classes: The class list of the data, where there is one.

    Raises:
        RefusedInput: A class folder is not in the class list.
    """
    if request.classes is not None:
        classes = read_class_list(request.classes)
    classes = classes or classes_of_folders(folder.classes)
    ids = [-1 if file.folder is None else classes.id_of(file.folder) for file in chosen]
    labels = torch.tensor(ids, dtype=torch.int64)  # (N,)
    wanted = chosen
    if request.samples is not None:
        most = -(-request.samples // request.clips)
        kept = choose_balanced(labels, most, seed=request.seed)
        wanted, labels = [chosen[i] for i in kept], labels[kept]
    return LabelledFiles(folder, kind, request.split, chosen, wanted, labels, classes.names)


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


def log_left_out(files: LabelledFiles, broken: Mapping[str, Exception]) -> list[str]:
    """Log the files that were left out, and the class folders without a readable file.

    Args:
        files: The files of the split.
        broken: The errors of unreadable files, by path.

    Returns:
        A line for each file or folder left out.

    Raises:
        RefusedInput: None of the files can be read.
    """
    lines = [f"{p}: {describe_error(broken[p])}" for p in files.paths if p in broken]
    skipped = files.folder.problems + lines
    if len(lines) == len(files.paths):
        raise RefusedInput(
            f"{files.folder.root}: none of the {len(lines)} {files.kind} can be read "
            f"({'; '.join(skipped[:3])}); put whole {files.kind} there"
        )
    for i, line in enumerate(skipped):
        logger.log(logging.WARNING if i < NAMED else logging.DEBUG, "left out %s", line)
    if (more := len(skipped) - NAMED) > 0:
        logger.warning(
            f"left out {more} more files, {len(skipped)} in all; the run's log.txt names them"
        )
    pairs = zip(files.wanted, files.paths, strict=True)
    _log_empty(files, Counter(file.folder for file, path in pairs if path in broken))
    return skipped


def _log_empty(files: LabelledFiles, lost: Counter[str | None]) -> None:
    """Log the class folders without a readable file of the split; lost files count by folder."""
    folder = files.folder
    here = Counter(file.folder for file in files.chosen) - lost
    anywhere = Counter(file.folder for file in folder.files) - lost
    empty = [name for name in folder.classes if name not in here]
    if len(empty) == len(folder.classes):
        return
    if nowhere := [name for name in empty if name not in anywhere]:
        logger.warning(
            f"{folder.root}: no {files.kind} that can be read in the class folders "
            f"{join_some(nowhere, NAMED)}; they keep their class ids, and no sample is of them"
        )
    if missing := [name for name in empty if name in anywhere]:
        word, meaning = _WORDS[files.split]
        logger.warning(
            f"{folder.root}: no {word} {files.kind} in the class folders "
            f"{join_some(missing, NAMED)}, which other splits have; {meaning}"
        )


def _log_layout(folder: DataFolder, kind: str) -> None:
    """Log surprising roles of folders, shared samples, and files of unknown suffixes."""
    root = folder.root
    told = [f"{name} for the {split} split" for split, name in folder.splits.items()]
    if any(split != name for split, name in folder.splits.items()) or folder.unused:
        unused = f"; not read: {join_some(folder.unused, NAMED)}" if folder.unused else ""
        logger.info(f"{root}: takes {', '.join(told)}{unused}")
    places = {name: (root / name).resolve() for name in folder.splits.values()}
    if len(set(places.values())) < len(places):
        told = [f"{name} in {place}" for name, place in places.items()]
        logger.warning(
            f"{root}: splits have the same samples ({', '.join(told)}), so that what is learnt "
            "from one is measured on itself; replace the link by samples of its own"
        )
    if folder.others:
        found = [f"{n} {suffix or 'without suffix'}" for suffix, n in sorted(folder.others.items())]
        logger.info(
            f"{root}: not read, as not known for {kind} by their suffixes: "
            f"{join_some(found, NAMED)}"
        )
