"""Tensors and a little JSON in one file: atomic, without pickle, checked when read."""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from attacks.errors import RefusedInput
from attacks.files import digest, packed, read_tensors, write_bytes
from trainers.run.folder.atomic import REMEDY, all_present, damaged_file, is_present, item_name

Saved = tuple[dict[str, Tensor], Any]
_DAMAGE = (
    OSError, SafetensorError, ValueError, KeyError, TypeError, RecursionError, RuntimeError
)  # fmt: skip


def save_tensors(path: Path, tensors: Mapping[str, Tensor], note: Any = None) -> None:
    """Write tensors and a JSON note to a safetensors file, with a digest of both.

    The bytes follow from the content alone, so equal states make equal files.

    Raises:
        OSError: when the disk is full, say; an earlier file of that name is then untouched.
    """
    plain = {name: tensor.detach().cpu() for name, tensor in tensors.items()}
    text = json.dumps(note, sort_keys=True)
    head = json.dumps({"digest": digest(plain, text), "note": note}, sort_keys=True)
    write_bytes(path, packed(plain, {"sparring": head}))


def load_tensors(path: Path, *, remedy: str = REMEDY) -> Saved:
    """Read what `save_tensors` wrote.

    Args:
        path: the file.
        remedy: what the user can do when it is damaged.

    Raises:
        RefusedInput: when the file is torn, changed, or another program's.
    """
    try:
        tensors, metadata = read_tensors(path)
        head = json.loads(metadata["sparring"])
        intact = head["digest"] == digest(tensors, json.dumps(head["note"], sort_keys=True))
    except _DAMAGE as error:
        raise RefusedInput(f"checkpoint {path} is damaged ({error}); {remedy}") from error
    if not intact:
        raise RefusedInput(f"checkpoint {path} was changed after it was written; {remedy}")
    return tensors, head["note"]


def _note(path: Path) -> Any:
    """Return the note in a file, without its tensors."""
    with safe_open(path, framework="pt") as file:
        return json.loads((file.metadata() or {})["sparring"])["note"]


def save_item(
    path: Path, tensors: Mapping[str, Tensor], note: Any = None, *, beside: Sequence[Path] = ()
) -> None:
    """Write a finished item of work to a run's checkpoints; see `save_tensors`.

    Args:
        path: the item.
        tensors: what was found.
        note: what else is to be known of it, ready for JSON.
        beside: files elsewhere that were made with it, and that it is not finished without.
    """
    names = [os.path.relpath(file, path.parent) for file in beside]
    save_tensors(path, tensors, {"item": item_name(path), "beside": names, "note": note})


def load_item(path: Path) -> Saved:
    """Read what `save_item` wrote.

    Raises:
        RefusedInput: when the file is torn, changed, or that of another item.
    """
    tensors, kept = load_tensors(path)
    if not isinstance(kept, dict) or kept.get("item") != item_name(path):
        raise damaged_file(path, "it is another item's")
    return tensors, kept["note"]


def check_items(folder: Path) -> None:
    """Refuse items of work that stand at another item's place, also those that are not needed.

    Raises:
        RefusedInput: naming one.
    """
    for file in sorted(folder.rglob("*.safetensors")):
        note = None
        with suppress(*_DAMAGE):
            note = _note(file)
        if isinstance(note, dict) and note.get("item", item_name(file)) != item_name(file):
            raise damaged_file(file, "it is another item's")


def is_finished(path: Path) -> bool:
    """Tell whether an item of work is there, and all that was made with it.

    Raises:
        RefusedInput: when it cannot be read.
    """
    try:
        return is_present(path) and all_present(path, _note(path)["beside"])
    except _DAMAGE as error:
        raise damaged_file(path, error) from error
