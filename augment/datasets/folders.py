"""Which files of a data folder belong to which split and class."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from augment.splits import SPLITS, Split, hash_split, home_of


@dataclass(frozen=True)
class DataFile:
    """One file of a data folder.

    Attributes:
        path: Relative to the data folder.
        name: Relative to the folder of its split; the sample's id.
        folder: The class folder it is in, or None.
        split: The split folder it is in, or None.
    """

    path: str
    name: str
    folder: str | None
    split: str | None


def list_files(root: Path, suffixes: frozenset[str]) -> tuple[list[DataFile], list[str]]:
    """Files with these suffixes below a folder, sorted; hidden ones are left out.

    Links are followed unless they lead back up.

    Args:
        root: The data folder.
        suffixes: Lower-case suffixes with their dot.

    Returns:
        The files, and a line for each folder that could not be read.
    """
    paths: list[str] = []
    problems: list[str] = []
    for here, folders, files in os.walk(
        root, followlinks=True, onerror=lambda error: problems.append(f"{error}")
    ):
        folders[:] = [name for name in folders if _visible(name) and not _leads_up(here, name)]
        paths += [
            Path(here, name).relative_to(root).as_posix()
            for name in files
            if _visible(name) and os.path.splitext(name)[1].lower() in suffixes
        ]
    return [_place(path) for path in sorted(paths)], problems


def files_of_split(files: Sequence[DataFile], split: Split, *, root: Path) -> list[DataFile]:
    """The files of one split.

    Folders `train`, `val` and `test` are the parts that `home_of` speaks of. Files beside class
    folders are left out; files without any are all in every split unless in split folders.

    Args:
        files: All files of the data folder.
        split: The split wanted.
        root: The data folder, for messages.

    Raises:
        RefusedInput: The split has no folder.
    """
    present = {file.split for file in files if file.split is not None}
    home, test = home_of(split, present, origin=f"{root}")
    chosen = [file for file in files if file.split == home]
    labelled = [file for file in chosen if file.folder is not None]
    if test is None or (home is None and not labelled):
        return labelled or chosen
    chosen = labelled or chosen
    return [chosen[i] for i in hash_split([file.name for file in chosen], split, test=test)]


def _place(path: str) -> DataFile:
    """Read split and class from the parts of a path."""
    parts = path.split("/")
    split = parts[0] if parts[0] in SPLITS and len(parts) > 1 else None
    rest = parts[1:] if split else parts
    return DataFile(path, "/".join(rest), rest[0] if len(rest) > 1 else None, split)


def _visible(name: str) -> bool:
    return not name.startswith((".", "__MACOSX"))


def _leads_up(here: str, name: str) -> bool:
    """Whether a link leads to a folder that it lies in, directly or further up."""
    path = os.path.join(here, name)
    if not os.path.islink(path):
        return False
    return Path(os.path.realpath(here)).is_relative_to(os.path.realpath(path))
