"""A class list: line i of a text file names class i."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from attacks.errors import RefusedInput

MOST_BYTES = 2**24


@dataclass(frozen=True)
class ClassList:
    """Names of the classes in order, and the class id of each folder name.

    Attributes:
        names: Readable names; line i belongs to class i.
        ids: Class id of a folder name.
        origin: Where the list comes from, for messages.
    """

    names: list[str]
    ids: dict[str, int]
    origin: str

    def id_of(self, folder: str) -> int:
        """Class id of a folder.

        Raises:
            RefusedInput: The list does not have it.
        """
        if folder not in self.ids:
            raise RefusedInput(
                f"class folder {folder!r} is not among the {len(self.names)} classes of "
                f"{self.origin}; add a line for it or remove the folder"
            )
        return self.ids[folder]


def classes_of_folders(folders: Iterable[str]) -> ClassList:
    """The classes of a data set without a list: its folders in alphabetical order."""
    names = sorted(set(folders))
    return ClassList(names, {name: i for i, name in enumerate(names)}, "the data folder")


def read_class_list(path: str) -> ClassList:
    """Read a class list.

    A line is a folder name and a readable name, such as `n01440764 tench`, or one name for both.

    Args:
        path: A UTF-8 text file.

    Returns:
        The list. Folders are found by the first word of a line or by the whole line.

    Raises:
        RefusedInput: The file is missing, too large, not text, empty or has an empty line.
    """
    advice = "give a text file with one class a line: folder name, then readable name"
    try:
        with Path(path).open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        lines = [line.strip() for line in content.decode("utf-8-sig").rstrip().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise RefusedInput(f"class list {path}: {error}; {advice}") from error
    if len(content) > MOST_BYTES or not lines:
        raise RefusedInput(f"class list {path}: {len(content)} bytes or more; {advice}")
    if "" in lines:
        raise RefusedInput(f"class list {path}: line {lines.index('') + 1} is empty; {advice}")
    words = [line.split(maxsplit=1) for line in lines]
    ids = {line: i for i, line in enumerate(lines)}
    ids.update((word[0], i) for i, word in reversed(list(enumerate(words))) if word[0] not in ids)
    names = [word[-1] for word in words]
    seen = Counter(names)
    distinct = [n if seen[n] == 1 else line for n, line in zip(names, lines, strict=True)]
    return ClassList(distinct, ids, path)
