"""Tensors and text as the bytes of a safetensors file, equal for equal content."""

import json
from collections.abc import Mapping
from hashlib import blake2b

import torch
from safetensors.torch import save
from torch import Tensor

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
