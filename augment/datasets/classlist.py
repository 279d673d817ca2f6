"""A class list: line i of a text file names class i."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from attacks.errors import RefusedInput

MOST_BYTES = 2**24


@dataclass(frozen=True)
class ClassList:
    """Names of the classes in order, and the class id of each folder name.

    Attributes:
        names: Readable names; line i belongs to class i.
        ids: The class ids of each folder name; of several, the name tells none.
        origin: Where the list comes from, for messages.
    """

    names: list[str]
    ids: Mapping[str, Sequence[int]]
    origin: str

    def id_of(self, folder: str) -> int:
        """Look up the class id of a folder; accents may be composed in one and apart in the other.

        Raises:
            RefusedInput: The list lacks the folder, or has it more than once.
        """
        found = self.ids.get(folder) or self._composed_ids.get(_compose_accents(folder), [])
        if len({*found}) > 1:
            lines = ", ".join(str(i + 1) for i in found[:5])
            raise RefusedInput(
                f"class folder {folder!r} may be any of the lines {lines} of {self.origin}; begin "
                "each line with a folder name of its own"
            )
        if not found:
            raise RefusedInput(
                f"class folder {folder!r} is not among the {len(self.names)} classes of "
                f"{self.origin}; add a line for it or remove the folder"
            )
        return found[0]

    @cached_property
    def _composed_ids(self) -> dict[str, list[int]]:
        """The class ids of each name with its accents composed."""
        return _gather((_compose_accents(name), i) for name, ids in self.ids.items() for i in ids)


def classes_of_folders(folders: Iterable[str]) -> ClassList:
    """Make the class list of a data set without one: its folders in alphabetical order."""
    names = sorted(set(folders))
    return ClassList(names, {name: [i] for i, name in enumerate(names)}, "the data folder")


def read_class_list(path: str) -> ClassList:
    """Read a class list.

    A line is a folder name and a readable name, such as `n01440764 tench`, or one name for both.

    Args:
        path: A UTF-8 text file.

    Returns:
        The list. Folders are found by the whole line, or else by its first word.

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
    ids = _gather((word[0], i) for i, word in enumerate(words))
    ids |= _gather((line, i) for i, line in enumerate(lines))
    names = [word[-1] for word in words]
    seen = Counter(names)
    distinct = [n if seen[n] == 1 else line for n, line in zip(names, lines, strict=True)]
    return ClassList(distinct, ids, path)


def _gather(pairs: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    """Gather the class ids of each name."""
    found: dict[str, list[int]] = {}
    for name, i in pairs:
        found.setdefault(name, []).append(i)
    return found


def _compose_accents(name: str) -> str:
    """Normalise the accents of a name to one encoding; archives of other systems may differ."""
    return unicodedata.normalize("NFC", name)
