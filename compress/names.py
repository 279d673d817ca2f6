"""Names of samples in a code file: what is allowed, and how they are packed."""

import zlib
from collections.abc import Sequence

from compress.errors import FormatError

_MOST_BYTES, _MOST_PART = 4096, 255  # of a name, and of each of its parts
_MOST_ALL = 2**26  # of all names of a file
_UNFIT = ("", ".", "..")


def describe_fault(names: Sequence[str], count: int) -> str | None:
    """Describe why a list of sample names is invalid, or return None.

    A name is a path below a folder: of the file that a sample was, with / between its parts.

    >>> describe_fault(["a.png", "../b.png"], 2)
    "name '../b.png': a part of it is '..'"
    """
    if len(names) != count:
        return f"names: {len(names)}; there are {count} samples"
    if others := [name for name in names if not isinstance(name, str)]:
        return f"name {others[0]!r}: of the kind {type(others[0]).__name__}, not a text"
    if len(set(names)) < count:
        return "names: two are the same"
    return next((text for name in names if (text := _describe_fault(name))), None)


def _describe_fault(name: str) -> str | None:
    parts = name.split("/")
    for part in parts:
        if part in _UNFIT:
            return f"name {name[:80]!r}: a part of it is {part!r}"
    if "\0" in name:
        return f"name {name[:80]!r}: it holds a zero byte"
    try:
        sizes = [len(_encode(part)) for part in parts]
    except UnicodeEncodeError:
        return f"name {name[:80]!r}: it is no file's"
    if max(sizes) > _MOST_PART or sum(sizes) + len(sizes) > _MOST_BYTES:
        return f"name {name[:80]!r}...: it is longer than a file's may be"
    return None


def pack(names: Sequence[str]) -> bytes:
    """Deflate names, each after a zero byte."""
    return zlib.compress(b"".join(b"\0" + _encode(name) for name in names), 9)


def unpack(packed: bytes, count: int) -> tuple[str, ...]:
    """Inflate the names of `count` samples.

    Raises:
        FormatError: for bytes that `pack` does not make, or invalid names.
    """
    inflate, most = zlib.decompressobj(), min(count * _MOST_BYTES, _MOST_ALL)
    try:
        data = inflate.decompress(packed, most)
    except zlib.error as error:
        raise FormatError(f"the names cannot be inflated: {error}") from error
    whole = inflate.eof and not inflate.unused_data
    if not whole or data[:1] != b"\0" or data.count(b"\0") != count:
        raise FormatError("the names are more or less than they should be")
    names = tuple(part.decode("utf-8", "surrogateescape") for part in data[1:].split(b"\0"))
    if text := describe_fault(names, count):
        raise FormatError(text)
    return names


def _encode(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
