"""Read weights from a file, as training scripts write it, without executing anything in it."""

import pickle
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor

from attacks.errors import RefusedInput
from trainers.models.weights.harmless import harmless_types
from trainers.models.weights.nesting import check_nesting

SIZE_CAP = 16 * 2**30  # bytes; the largest published classifiers have 10 GiB
_UNREADABLE = (
    *(zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError),
    safetensors.SafetensorError,
)
_HEAD = 512  # bytes that tell a file's form
_CONVERT = (
    "save the weights alone with safetensors.torch.save_file(model.state_dict(), "
    "'weights.safetensors') where the file came from, and pass that file"
)
_LEGACY = pickle.dumps(torch.serialization.MAGIC_NUMBER, protocol=2)[2:]  # torch before 1.6
# What training scripts call it; where there are several, the first of these. Averages of the
# weights come last: who wants them names a file that holds them alone.
_NAMES = (
    *("state_dict", "model_state_dict", "model", "net"),
    *("network", "module", "model_state", "params", "weights", "state"),
    *("state_dict_ema", "model_ema", "ema", "ema_state_dict", "model_ema_state_dict", "ema_model"),
    *("swa_model", "swa_state_dict", "averaged_model", "shadow"),
)
_DEPTH = 8  # such names that lie within each other


@dataclass(frozen=True)
class Checkpoint:
    """The state dict of a file.

    Attributes:
        state: parameter and buffer names with their tensors.
        place: the names it lay under, outermost first; none when it was all there was.
        left: what lay beside it.
    """

    state: dict[str, Tensor]
    place: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read the state dict of a safetensors file, or of what ``torch.save`` wrote.

    The content decides, not the suffix. torch's files are read with ``weights_only=True``, for
    a pickle of its own could run code: beside tensors they may hold what `harmless_types` names.
    Of a zip, only stored members are read, for a deflated one could expand without bound.

    Args:
        path: the file; at most ``SIZE_CAP`` bytes.

    Raises:
        RefusedInput: for a file that is missing, unsafe, broken or holds something else.
    """
    path = Path(path)
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
    try:
        content = _content(path, size)
    except _UNREADABLE as error:
        raise _broken(path, error) from error
    checkpoint = _find_state_dict(content, path)
    for key, value in checkpoint.state.items():
        _check_plain(path, key, value, size)
    return checkpoint


def _content(path: Path, size: int) -> Any:
    """Read all that a file holds, by what it starts with."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head.startswith(b"PK"):
        _check_zip(path, size)
        return _load(path)
    if head[8:9] == b"{":
        return load_file(path)
    if head.startswith(b"\x80") and head[2:].startswith(_LEGACY):
        # Before 1.6 torch.save wrote pickles one behind the other, then the tensors.
        with path.open("rb") as file:
            for _ in range(4):  # a magic number, a version, the machine, the content
                check_nesting(file)
        return _load(path)
    if head.startswith(b"\x80"):
        raise RefusedInput(f"{path} is a bare pickle, which could run code when read; {_CONVERT}")
    if head[257:262] == b"ustar":
        raise RefusedInput(f"{path} is a tar archive, as torch before 0.2 wrote; {_CONVERT}")
    raise RefusedInput(
        f"{path} starts with {head[:4]!r} and is neither safetensors nor a file of torch.save "
        f"(or it is cut off); {_CONVERT}"
    )


def _check_zip(path: Path, size: int) -> None:
    """Look at a torch archive's table of contents, and at how deep its pickles are nested."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        names = Counter(member.filename for member in members)
        if any(name.endswith("/constants.pkl") for name in names):
            raise RefusedInput(f"{path} is a TorchScript program, not weights alone; {_CONVERT}")
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise RefusedInput(
                f"{path} is a compressed archive, which could expand without bound; torch.save "
                f"stores uncompressed: {_CONVERT}"
            )
        if sum(member.file_size for member in members) > size:
            raise _broken(path, "its members claim more bytes than the file has")
        twice = [name for name, count in names.items() if count > 1]
        if twice:
            raise _broken(path, f"its member {twice[0]!r} is there twice")
        for name in (name for name in names if name.endswith("data.pkl")):
            with archive.open(name) as file:
                check_nesting(file)


def _load(path: Path) -> Any:
    try:
        # Given a path, torch.load goes by its suffix. It warns of other protocols, and refuses.
        with path.open("rb") as file, harmless_types(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise RefusedInput(
            f"{path} holds {_culprit(str(error))} where tensors and plain values are expected, and "
            f"was not executed; {_CONVERT}"
        ) from error
    # A damaged archive or opcode stream surfaces as whatever the reader stumbles over.
    except Exception as error:
        raise _broken(path, error) from error


def _culprit(message: str) -> str:
    """Name what torch's reader would not read, from what it says.

    >>> _culprit("Unsupported global: GLOBAL os.system was not an allowed global by default.")
    'a pickled object or code (os.system)'
    """
    named = re.search(r"GLOBAL (\S+)", message)
    if named:
        return f"a pickled object or code ({named[1][:100]})"
    if "Unsupported operand" in message:
        return "a pickle of another protocol than torch.save's 2, or a pickled object,"
    return "a pickled object or code"


def _find_state_dict(content: Any, path: Path) -> Checkpoint:
    """Return the state dict in what a file holds; a mapping may hold itself."""
    if not isinstance(content, Mapping) or not content:
        raise RefusedInput(f"{path} holds {_kind(content)}, not a state dict; {_CONVERT}")
    found = _descend(content, (), set())
    if found is not None:
        return found
    key, value = next(iter(content.items()))
    raise RefusedInput(
        f"{path}: {str(key)[:100]!r} is {_kind(value)}, a state dict holds named tensors, by "
        f"itself or under a name such as {', '.join(_NAMES[:4])}; {_CONVERT}"
    )


def _descend(
    content: Mapping[Any, Any], place: tuple[str, ...], seen: set[int]
) -> Checkpoint | None:
    """Return the first state dict at or below a mapping, None where there is none."""
    seen.add(id(content))
    for name, inner in _inner(content):
        if id(inner) not in seen and len(place) < _DEPTH:
            found = _descend(inner, (*place, name), seen)
            if found is not None:
                return replace(found, left=(*_listed(content, [name]), *found.left))
    state = {k: v for k, v in content.items() if isinstance(k, str) and isinstance(v, Tensor)}
    if not state:
        return None
    return Checkpoint(state, place, _listed(content, state))


def _inner(content: Mapping[Any, Any]) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """Yield the mappings that may be or hold a state dict, the likeliest first."""
    others = [name for name in content if isinstance(name, str) and name.endswith("_state_dict")]
    for name in dict.fromkeys((*_NAMES, *others)):
        if isinstance(content.get(name), Mapping):
            yield name, content[name]


def _listed(content: Mapping[Any, Any], taken: Collection[str]) -> tuple[str, ...]:
    return tuple(str(key)[:60] for key in content if key not in taken)


def _kind(value: object) -> str:
    return "nothing" if isinstance(value, Mapping) and not value else f"a {type(value).__name__}"


def _check_plain(path: Path, key: str, value: Tensor, size: int) -> None:
    """Refuse tensors that are not backed by bytes of the file, such as huge expanded views."""
    if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized:
        raise RefusedInput(f"{path}: {key!r} is not a plain dense tensor; {_CONVERT}")
    if value.numel() * value.element_size() > size:
        raise _broken(path, f"{key!r} of shape {tuple(value.shape)} is larger than the file")


def _broken(path: Path, reason: object) -> RefusedInput:
    first = str(reason).strip().split("\n")[0][:200]
    return RefusedInput(f"{path} is damaged or cut off ({first}); copy or download it again")
