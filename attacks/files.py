"""Files that are there whole or not at all, whatever kills the program."""

import json
import os
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from secrets import token_hex

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

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


_LENGTH = 8  # bytes of the header's length, and what the header's length is a multiple of


def packed(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Return a safetensors file whose bytes follow from the content alone.

    The library keeps metadata in no fixed order; here it is sorted.
    """
    data = save(
        {name: t.detach().cpu().contiguous() for name, t in tensors.items()}, dict(metadata)
    )
    end = _LENGTH + int.from_bytes(data[:_LENGTH], "little")
    header = json.loads(data[_LENGTH:end])
    header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _LENGTH)
    return len(text).to_bytes(_LENGTH, "little") + text + data[end:]


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors by name and the metadata of a safetensors file.

    Raises:
        OSError: when the file cannot be opened.
        SafetensorError: when its content is damaged.
    """
    with safe_open(path, framework="pt") as file:
        notes: dict[str, str] = file.metadata() or {}
        return {name: file.get_tensor(name) for name in file.keys()}, notes  # noqa: SIM118


def digest(tensors: Mapping[str, Tensor], text: str) -> str:
    """Return a hash of names, types, shapes and bytes of tensors on the CPU, and of a text."""
    result = blake2b(text.encode(), digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        result.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        result.update(
            tensor.reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
        )
    return result.hexdigest()
