"""Files that are there whole or not at all, whatever kills the program."""

import os
from pathlib import Path
from secrets import token_hex

SUFFIX = ".partial"


def write_bytes(path: Path, data: bytes) -> None:
    """Write to a temporary name, flush to the disk, rename; make the folder when it is missing.

    Raises:
        OSError: when the disk is full, say; `path` is then as it was before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = write_partial(path, data)
    try:
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_partial(path: Path, data: bytes) -> Path:
    """Write, down to the disk, what is to be renamed to `path`; return where it is.

    The name is the writer's own, so that two writers of one file do not share it.

    Raises:
        OSError: when the disk is full, say; nothing is left behind.
    """
    partial = path.with_name(f".{path.name}.{token_hex(4)}{SUFFIX}")
    try:
        with partial.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return partial


def sync_folder(folder: Path) -> None:
    """Make the renames in this folder outlive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(folder: Path, names: str = "*") -> None:
    """Remove what a killed process left half-written, at any depth, of files with such names."""
    for partial in folder.rglob(f".{names}.*{SUFFIX}"):
        partial.unlink(missing_ok=True)
