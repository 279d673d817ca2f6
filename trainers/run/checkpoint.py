"""Tensors and a little JSON in one file: atomic, without pickle, checked when read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from attacks.atomic import write_bytes
from attacks.errors import RefusedInput

Saved = tuple[dict[str, Tensor], Any]


def save_tensors(path: Path, tensors: Mapping[str, Tensor], note: Any = None) -> None:
    """Write tensors and a JSON note to a safetensors file, with a digest of both.

    The bytes follow from the content alone, so equal states make equal files.

    Raises:
        OSError: when the disk is full, say; an earlier file of that name is then untouched.
    """
    plain = {name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)}
    text = json.dumps(note, sort_keys=True)
    # One metadata entry: the format keeps several in no fixed order.
    head = json.dumps({"digest": digest(plain, text), "note": note}, sort_keys=True)
    write_bytes(path, save(plain, metadata={"sparring": head}))


def load_tensors(path: Path, *, remedy: str = "delete it and resume: it is made again") -> Saved:
    """Read what `save_tensors` wrote.

    Args:
        path: the file.
        remedy: what the user can do when it is damaged.

    Raises:
        RefusedInput: when the file is torn, changed, or another program's.
    """
    try:
        with safe_open(path, framework="pt") as file:
            head = json.loads((file.metadata() or {})["sparring"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        intact = head["digest"] == digest(tensors, json.dumps(head["note"], sort_keys=True))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise RefusedInput(f"checkpoint {path} is damaged ({error}); {remedy}") from error
    if not intact:
        raise RefusedInput(f"checkpoint {path} was changed after it was written; {remedy}")
    return tensors, head["note"]


def digest(tensors: Mapping[str, Tensor], text: str) -> str:
    """Return a hash of names, types, shapes, bytes and the note."""
    result = blake2b(text.encode(), digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        result.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        result.update(
            tensor.reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
        )
    return result.hexdigest()
