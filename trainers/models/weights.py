"""Read weights from a file without executing anything in it."""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor

from attacks.errors import RefusedInput

SIZE_CAP = 16 * 2**30  # bytes; the largest published classifiers have 10 GiB
_CONVERT = (
    "save the weights alone with safetensors.torch.save_file(model.state_dict(), "
    "'weights.safetensors') where the file came from, and pass that file"
)
_CONTAINERS = ("state_dict", "model_state_dict", "model", "net")


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict from a safetensors file or from what ``torch.save`` wrote.

    The content decides, not the suffix. Of torch's files only the zip form with stored members
    is read, with ``weights_only=True``: a deflated member could expand without bound, and a
    pickle of its own could run code.

    Args:
        path: the file; at most ``SIZE_CAP`` bytes.

    Returns:
        Parameter and buffer names with their tensors, on the CPU.

    Raises:
        RefusedInput: for a file that is missing, unsafe, broken or holds something else.
    """
    path = Path(path)
    size = _checked_size(path)
    with path.open("rb") as file:
        head = file.read(9)
    if head.startswith(b"PK"):
        content = _read_zip(path, size)
    elif head[8:] == b"{":
        content = _read_safetensors(path)
    elif head.startswith(b"\x80"):
        raise RefusedInput(f"{path} is a bare pickle, which could run code when read; {_CONVERT}")
    else:
        raise RefusedInput(
            f"{path} starts with {head[:4]!r} and is neither safetensors nor a file of torch.save "
            f"(or it is cut off); {_CONVERT}"
        )
    return _as_state_dict(content, path, size)


def _checked_size(path: Path) -> int:
    if not path.is_file():
        raise RefusedInput(
            f"there is no weights file {path}; give the path of a .safetensors or .pt file"
        )
    size = path.stat().st_size
    if size > SIZE_CAP:
        raise RefusedInput(
            f"{path} has {size} bytes; weights of at most {SIZE_CAP} bytes are read: check that "
            "it is the right file"
        )
    return size


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (safetensors.SafetensorError, ValueError) as error:
        raise _broken(path, error) from error


def _read_zip(path: Path, size: int) -> Any:
    """Read a torch archive after a look at its table of contents."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise _broken(path, error) from error
    if any(member.filename.endswith("/constants.pkl") for member in members):
        raise RefusedInput(f"{path} is a TorchScript program, not weights alone; {_CONVERT}")
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise RefusedInput(
            f"{path} is a compressed archive, which could expand without bound; torch.save "
            f"stores uncompressed: {_CONVERT}"
        )
    if sum(member.file_size for member in members) > size:
        raise _broken(path, "its members claim more bytes than the file has")
    return _load_zip(path)


def _load_zip(path: Path) -> Any:
    try:
        with path.open("rb") as file:  # given a path, torch.load goes by its suffix
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise RefusedInput(
            f"{path} holds a pickled object or code where plain tensors are expected, and was "
            f"not executed; {_CONVERT}"
        ) from error
    # A damaged archive or opcode stream surfaces as whatever the reader stumbles over.
    except Exception as error:
        raise _broken(path, error) from error


def _as_state_dict(content: Any, path: Path, size: int) -> dict[str, Tensor]:
    """Take the state dict out of a training checkpoint and check what it holds."""
    while isinstance(content, Mapping):
        inner = next((content[k] for k in _CONTAINERS if isinstance(content.get(k), Mapping)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping) or not content:
        raise RefusedInput(f"{path} holds {_kind(content)}, not a state dict; {_CONVERT}")
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise RefusedInput(
                f"{path}: {key!r} is {_kind(value)}, a state dict holds named tensors; {_CONVERT}"
            )
        _check_plain(path, key, value, size)
    return dict(content)


def _check_plain(path: Path, key: str, value: Tensor, size: int) -> None:
    """Refuse tensors that are not backed by bytes of the file, such as huge expanded views."""
    if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized:
        raise RefusedInput(f"{path}: {key!r} is not a plain dense tensor; {_CONVERT}")
    if value.numel() * value.element_size() > size:
        raise _broken(path, f"{key!r} of shape {tuple(value.shape)} is larger than the file")


def _kind(value: object) -> str:
    return "nothing" if isinstance(value, Mapping) and not value else f"a {type(value).__name__}"


def _broken(path: Path, reason: object) -> RefusedInput:
    first = str(reason).strip().split("\n")[0][:200]
    return RefusedInput(f"{path} is damaged or cut off ({first}); copy or download it again")
