"""Which image files of a folder belong to which split and class."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from attacks.errors import RefusedInput
from augment.splits import SPLITS, Split, hash_split


@dataclass(frozen=True)
class ImageFile:
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


def list_files(root: Path, suffixes: frozenset[str]) -> tuple[list[ImageFile], list[str]]:
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


def files_of_split(files: Sequence[ImageFile], split: Split, *, root: Path) -> list[ImageFile]:
    """The files of one split.

    Folders `train`, `val` and `test` are the splits. Without `test`, `val` is the test split. A
    validation split without a folder of its own is a tenth of `train`, chosen by file name. With
    no such folders, the class folders are split 80 : 10 : 10 by file name, and images without
    class folders are all in every split.

    Args:
        files: All files of the data folder.
        split: The split wanted.
        root: The data folder, for messages.

    Raises:
        RefusedInput: The split has no folder.
    """
    present = [name for name in SPLITS if any(file.split == name for file in files)]
    if not present:
        labelled = [file for file in files if file.folder is not None]
        return _pick(labelled, split, test=0.1) if labelled else list(files)
    has_val = {"val", "test"} <= set(present)
    home = {
        "train": "train",
        "val": "val" if has_val else "train",
        "test": "test" if "test" in present else "val",
    }[split]
    if home not in present:
        raise RefusedInput(
            f"{root}: no images for the {split} split; it has images in {', '.join(present)}; "
            f"add a folder {home} or use a split that exists"
        )
    chosen = [file for file in files if file.split == home]
    if any(file.folder for file in chosen):
        chosen = [file for file in chosen if file.folder is not None]
    return chosen if home != "train" or has_val else _pick(chosen, split, test=0.0)


def _pick(files: Sequence[ImageFile], split: Split, *, test: float) -> list[ImageFile]:
    return [files[i] for i in hash_split([file.name for file in files], split, test=test)]


def _place(path: str) -> ImageFile:
    """Read split and class from the parts of a path."""
    parts = path.split("/")
    split = parts[0] if parts[0] in SPLITS and len(parts) > 1 else None
    rest = parts[1:] if split else parts
    return ImageFile(path, "/".join(rest), rest[0] if len(rest) > 1 else None, split)


def _visible(name: str) -> bool:
    return not name.startswith((".", "__MACOSX"))


def _leads_up(here: str, name: str) -> bool:
    """Whether a link leads to a folder that it lies in, directly or further up."""
    path = os.path.join(here, name)
    if not os.path.islink(path):
        return False
    return Path(os.path.realpath(here)).is_relative_to(os.path.realpath(path))
