"""Which files of a data folder belong to which split and class."""

import os
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from attacks.errors import RefusedInput
from augment.splits import Split, hash_split, source_split

SPLIT_FOLDERS: dict[str, Split] = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip


@dataclass(frozen=True)
class DataFile:
    """One file of a data folder.

    Attributes:
        path: Relative to the data folder.
        name: Relative to the folder of its split; the sample's id.
        folder: The class folder it is in, or None.
        split: The split whose folder it is in, or None.
    """

    path: str
    name: str
    folder: str | None
    split: Split | None


@dataclass(frozen=True)
class DataFolder:
    """The contents of a data folder.

    Attributes:
        root: The folder.
        files: The files of its splits, sorted. Beside class folders no file counts.
        classes: The class folders of all splits, sorted, those without files among them.
        problems: A line for each folder that could not be read.
        splits: Map each split to its folder; empty where the data folder holds the class folders.
        unused: Folders beside those of the splits, which are not read.
        others: How many files have each suffix that is not read.
    """

    root: Path
    files: list[DataFile]
    classes: list[str]
    problems: list[str]
    splits: dict[Split, str] = field(default_factory=dict)
    unused: Sequence[str] = ()
    others: Counter[str] = field(default_factory=Counter)

    def paths(self, files: Iterable[DataFile]) -> list[str]:
        """List the paths of some of the files."""
        return [str(self.root / file.path) for file in files]


def read_folder(root: Path, suffixes: Collection[str]) -> DataFolder:
    """Find the splits, classes and files of a data folder.

    A folder is a split if its name says so, in any case, and it holds class folders; without
    class folders it is one where another split has them, or where no other folder could be a
    class. Else it is a class.

    Args:
        root: The data folder.
        suffixes: Lower-case suffixes of the files that are read, with their dot.

    Raises:
        RefusedInput: It is not clear which folder is which split.
    """
    paths, folders, problems = walk_files(root)
    files = [path for path in paths if suffix_of(path) in suffixes]
    splits = _find_splits(root, files, folders)
    placed = [file for path in files if (file := _parse_path(path, splits)) is not None]
    parts: list[Split | None] = [*splits] or [None]
    labelled = {part for part in parts if any(f.folder and f.split == part for f in placed)}
    counted = [f for f in placed if f.folder or f.split not in labelled]
    tops = {splits[part] for part in parts if part} or {""}
    inside = {path.partition("/")[::2] if splits else ("", path) for path in folders}
    classes = {rest for top, rest in inside if top in tops and rest and "/" not in rest}
    loose = any(file.folder is None for file in counted) and not labelled
    return DataFolder(
        root,
        counted,
        [] if loose and not splits else sorted(classes),
        problems,
        splits,
        sorted({f.partition("/")[0] for f in folders} - tops) if splits else [],
        Counter(s for p in paths if (s := suffix_of(p)) not in suffixes and _parse_path(p, splits)),
    )


def walk_files(root: Path) -> tuple[list[str], list[str], list[str]]:
    """List the visible files and folders below a folder, relative to the folder and sorted.

    Links are followed unless they lead back up; below each folder of the root's folders no
    folder is entered twice.

    Returns:
        The files, the folders, and a line for each folder that could not be read.
    """
    files: list[str] = []
    folders: list[str] = []
    problems: list[str] = []
    entered: set[tuple[str, str]] = set()
    for here, inside, names in os.walk(
        root, followlinks=True, onerror=lambda error: problems.append(f"{error}")
    ):
        at = Path(here).relative_to(root)
        inside[:] = [name for name in inside if _is_visible(name) and not _leads_up(root, at, name)]
        if len(at.parts) >= 2:  # below a class folder
            branch = "/".join(at.parts[:2])
            inside[:] = [name for name in inside if _enter_once(entered, branch, here, name)]
        files += [(at / name).as_posix() for name in names if _is_visible(name)]
        folders += [(at / name).as_posix() for name in inside]
    return sorted(files), sorted(folders), problems


def suffix_of(path: str) -> str:
    """Return the lower-case suffix of a path, with its dot."""
    return os.path.splitext(path)[1].lower()


def files_of_split(folder: DataFolder, split: Split) -> list[DataFile]:
    """List the files of one split.

    The split folders are the parts of `source_split`. Files without class folders are all in every
    split unless in split folders.

    Args:
        folder: The contents of the data folder.
        split: The split wanted.

    Raises:
        RefusedInput: The split has no folder.
    """
    home, test = source_split(split, folder.splits, origin=f"{folder.root}")
    chosen = [file for file in folder.files if file.split == home]
    if test is None or (home is None and not any(file.folder for file in chosen)):
        return chosen
    return [chosen[i] for i in hash_split([file.name for file in chosen], split, test=test)]


def _find_splits(root: Path, files: Sequence[str], folders: Sequence[str]) -> dict[Split, str]:
    """Map each split to its folder; empty where the data folder holds the class folders."""
    tops = [folder for folder in folders if "/" not in folder]
    named = [top for top in tops if top.casefold() in SPLIT_FOLDERS]
    holding = {path.partition("/")[0] for path in files if "/" in path}
    deep = {path.partition("/")[0] for path in files if path.count("/") > 1}
    parents = {folder.partition("/")[0] for folder in folders if "/" in folder}
    nested = [top for top in named if top in parents and (top in deep or top not in holding)]
    beside = [top for top in tops if top not in named]
    full = [top for top in beside if top in holding]
    chosen = [top for top in named if top in nested or top in holding]
    kinds = {SPLIT_FOLDERS[top.casefold()] for top in chosen}
    if not nested and (beside if len(kinds) == 1 else full):
        if len(kinds) > 1:
            raise _ambiguity_error(root, chosen, full)
        return {}
    if nested and len(kinds) == 1 and len(full) > 1:
        raise _ambiguity_error(root, chosen, full)
    return _assign_splits(root, chosen)


def _assign_splits(root: Path, chosen: Iterable[str]) -> dict[Split, str]:
    splits: dict[Split, str] = {}
    for top in chosen:
        split = SPLIT_FOLDERS[top.casefold()]
        if split in splits:
            raise RefusedInput(
                f"{root}: both {splits[split]!r} and {top!r} would be the {split} split; put "
                "their files into one folder, or move one out of the data folder"
            )
        splits[split] = top
    return splits


def _ambiguity_error(root: Path, named: Sequence[str], beside: Sequence[str]) -> RefusedInput:
    these, others = (join_some([repr(name) for name in names], 3) for names in (named, beside))
    return RefusedInput(
        f"{root}: {these} may be a split or a class, as {others} beside it may be classes; for "
        f"splits move {others} out of the data folder, for classes put all of them into train/ "
        "and test/"
    )


def join_some(texts: Sequence[str], most: int) -> str:
    """Join at most so many texts, and count the others.

    >>> join_some(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


def _parse_path(path: str, splits: dict[Split, str]) -> DataFile | None:
    """Read split and class from the parts of a path; None of a path beside the splits."""
    top, _, rest = path.partition("/")
    split = next((part for part, folder in splits.items() if folder == top and rest), None)
    if splits and split is None:
        return None
    name = rest if split else path
    folder, slash, _ = name.partition("/")
    return DataFile(path, name, folder if slash else None, split)


def _is_visible(name: str) -> bool:
    return not name.startswith(".") and name != "__MACOSX"


def _leads_up(root: Path, at: Path, name: str) -> bool:
    """Tell whether a link leads to a folder above the link."""
    if not os.path.islink(root / at / name):
        return False
    target = os.path.realpath(root / at / name)
    way = [os.path.realpath(root / part) for part in (at, *at.parents)]
    return any(Path(place).is_relative_to(target) for place in way)


def _enter_once(entered: set[tuple[str, str]], branch: str, here: str, name: str) -> bool:
    """Note that a folder is entered below a branch; False where that has been done before."""
    place = branch, os.path.realpath(os.path.join(here, name))
    before = place in entered
    entered.add(place)
    return not before
