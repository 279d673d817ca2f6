"""Text and JSON files that are there whole or not at all, and one reader that doubts them."""

import json
import math
import os
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from attacks import RefusedInput
from attacks.files import write_bytes

REMEDY = "delete it and resume: it is made again"


def write_text(path: Path, text: str, *, errors: str = "strict") -> None:
    """Write UTF-8 text atomically; `errors` as of `str.encode`."""
    write_bytes(path, text.encode(errors=errors))


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically."""
    write_text(path, json.dumps(value, indent=2, allow_nan=True) + "\n")


def write_summary(path: Path, summary: dict[str, Any]) -> None:
    """Write summary.json atomically; a number that is not finite is null, as JSON has none."""
    write_json(path, _finite(summary))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def damaged_file(path: Path, reason: object) -> RefusedInput:
    """Return the one error for a file of a run folder that cannot be used."""
    return RefusedInput(f"{path} is damaged ({reason}); {REMEDY}")


def is_present(path: Path) -> bool:
    """Tell whether a file of a run folder is there.

    Raises:
        RefusedInput: when something else has its name, or that of its folder.
    """
    if path.is_file():
        return True
    if path.exists() or path.is_symlink():
        raise damaged_file(path, "it is no file")
    folder = next(folder for folder in path.parents if folder.exists())
    if not folder.is_dir():
        raise damaged_file(folder, "it is no folder")
    return False


def read_bytes(path: Path) -> bytes:
    """Read a file that this program wrote.

    Raises:
        RefusedInput: when it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise damaged_file(path, error.strerror) from error


def parse_json(path: Path, text: bytes, kind: type = object) -> Any:
    """Return the JSON value of some bytes of a file that this program wrote.

    Raises:
        RefusedInput: when it is none, or of another kind.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise damaged_file(path, error) from error
    if not isinstance(value, kind):
        raise damaged_file(path, f"it holds a {type(value).__name__}, not a {kind.__name__}")
    return value


def read_json(path: Path, kind: type = object) -> Any:
    """Read JSON that this program wrote.

    Args:
        path: the file.
        kind: what it holds: dict, list, float, ...

    Raises:
        RefusedInput: when it is damaged.
    """
    return parse_json(path, read_bytes(path), kind)


def cached_json(
    path: Path, make: Callable[[], Any], *, beside: Callable[[], Sequence[Path]] = tuple
) -> Any:
    """Return the JSON value in `path`; when there is none, make and keep it first.

    It is read back also when just made, so a resumed run sees what an uninterrupted one saw.

    Args:
        path: an item of work.
        make: makes its value.
        beside: lists, after that, the files that `make` wrote too; where one is missing, the
            item is made again.

    Raises:
        RefusedInput: when the file is damaged, was changed, or is that of another item.
    """
    if not is_cached(path):
        value = make()
        names = [os.path.relpath(file, path.parent) for file in beside()]
        head = {"item": item_name(path), "digest": digest(value), "beside": names}
        write_json(path, head | {"value": value})
    return _item(path)["value"]


def make_checked(
    path: Path,
    seal: Path,
    make: Callable[[], object],
    *,
    beside: Callable[[], Sequence[Path]] = tuple,
) -> None:
    """Make a file of a format of its own unless it is there, and check that it is as it was made.

    Args:
        path: the file.
        seal: the item of work that knows its digest.
        make: writes the file.
        beside: lists, after that, the files that `make` wrote too; see `cached_json`.

    Raises:
        RefusedInput: when it was changed, or is another file of that kind.
    """

    def made() -> str:
        make()
        return _hash(path)

    cached_json(seal, made, beside=lambda: [path, *beside()])
    check_seal(path, seal)


def check_seal(path: Path, seal: Path) -> None:
    """Check that a file is as it was when `make_checked` made it.

    Raises:
        RefusedInput: when it was changed, or is another file of that kind.
    """
    if _item(seal)["value"] != _hash(path):
        raise damaged_file(path, "it was changed after it was written, or is another item's")


def _hash(path: Path) -> str:
    return blake2b(read_bytes(path), digest_size=16).hexdigest()


def is_cached(path: Path) -> bool:
    """Tell whether an item that `cached_json` keeps is there, and all that was made with it.

    Raises:
        RefusedInput: when it cannot be read.
    """
    return is_present(path) and all_present(path, _item(path)["beside"])


def all_present(item: Path, names: Sequence[str]) -> bool:
    """Tell whether files are there that were made with an item, by their names relative to it.

    Raises:
        RefusedInput: when something else has the name of one.
    """
    return all([is_present(Path(os.path.normpath(item.parent / name))) for name in names])


def _item(path: Path) -> dict[str, Any]:
    """Read an item and check that it is whole, and this one."""
    item: dict[str, Any] = read_json(path, dict)
    if item.keys() != {"item", "digest", "beside", "value"} or not are_names(item["beside"]):
        raise damaged_file(path, "it is no item of a run")
    if (item["item"], item["digest"]) != (item_name(path), digest(item["value"])):
        raise damaged_file(path, "it was changed after it was written, or is another item's")
    return item


def are_names(value: object) -> bool:
    """Tell whether a JSON value is a list of names of files."""
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def digest(value: Any) -> str:
    """Return a hash of a JSON value, of whose "seconds" only the kind counts."""

    def timeless(fields: dict[str, Any]) -> dict[str, Any]:
        return {k: type(v).__name__ if k == "seconds" else v for k, v in fields.items()}

    plain = json.loads(json.dumps(value), object_hook=timeless)
    return blake2b(json.dumps(plain, sort_keys=True).encode(), digest_size=16).hexdigest()


def item_name(path: Path) -> str:
    """Return where in a run's checkpoints a file is: the name of an item of work.

    >>> item_name(Path("runs/a/checkpoints/test-pgd/00001.safetensors"))
    'test-pgd/00001.safetensors'
    """
    folders = [number for number, part in enumerate(path.parts) if part == "checkpoints"]
    return "/".join(path.parts[folders[-1] + 1 :] if folders else path.parts[-1:])
