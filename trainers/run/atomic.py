"""Files that are there whole or not at all, whatever kills the program."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SUFFIX = ".partial"


def write_bytes(path: Path, data: bytes) -> None:
    """Write to a temporary name, flush to the disk, rename.

    Raises:
        OSError: when the disk is full, say; `path` is then as it was before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=SUFFIX)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a name to write to; after the body, the file there takes the place of `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}{SUFFIX}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make a rename in this folder outlive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically."""
    write_text(path, json.dumps(value, indent=2, allow_nan=True) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON that this program wrote.

    Raises:
        RefusedInput: when it is damaged.
    """
    from attacks.errors import RefusedInput

    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise RefusedInput(
            f"{path} is damaged ({error}); delete it and resume: it is made again"
        ) from error


def once(path: Path, make: Callable[[], Any]) -> Any:
    """Return the JSON value in `path`; when there is none, make and keep it first.

    It is read back also when just made, so a resumed run sees what an uninterrupted one saw.
    """
    if not path.exists():
        write_json(path, make())
    return read_json(path)


def sweep(folder: Path) -> None:
    """Remove what a killed process left half-written."""
    for partial in folder.rglob(f".*{SUFFIX}"):
        partial.unlink(missing_ok=True)
