"""Text and JSON files that are there whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attacks import RefusedInput
from attacks.atomic import write_bytes


def write_text(path: Path, text: str, *, errors: str = "strict") -> None:
    """Write UTF-8 text atomically; `errors` as of `str.encode`."""
    write_bytes(path, text.encode(errors=errors))


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically."""
    write_text(path, json.dumps(value, indent=2, allow_nan=True) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON that this program wrote.

    Raises:
        RefusedInput: when it is damaged.
    """
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
