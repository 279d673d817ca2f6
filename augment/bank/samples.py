"""One perturbed sample: its metadata, and the smallest encoding that still fools."""

import hashlib
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from augment.dataset import as_float

Encoding = Literal["uint8", "float16", "float32"]
Status = Literal["pending", "accepted", "rejected", "unsure"]

ENCODINGS: tuple[Encoding, ...] = get_args(Encoding)
STATUSES: tuple[Status, ...] = get_args(Status)


@dataclass(frozen=True)
class Entry:
    """The metadata of a perturbed sample in the bank.

    Attributes:
        source: Id of the original in its dataset.
        label: The correct class of the original.
        round: Round that made it.
        attack: Name of the attack that made it.
        seed: Seed the attack was given.
        loss: Final loss of the attack.
        linf: Largest absolute difference from the original, in pixel units of [0, 1].
        l2: Euclidean norm of the difference.
        l1: Sum of absolute differences.
        encoding: How the pixels are stored.
        hash: blake2b of the stored bytes.
        id: Unique and stable name within the bank.
        status: What the reviews come to; see `augment.bank.reviews`.
    """

    source: str
    label: int
    round: int
    attack: str
    seed: int
    loss: float
    linf: float
    l2: float
    l1: float
    encoding: Encoding
    hash: str
    id: str
    status: Status = "pending"


_PARSERS: dict[Any, Callable[[Any], object]] = {str: str, int: operator.index, float: float}
_GIVEN = {  # the parser of each field that the maker of a sample supplies
    field.name: _PARSERS[field.type]
    for field in fields(Entry)
    if field.name not in ("encoding", "hash", "id", "status")
}


def given_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Parse the fields of an entry that its maker supplies to plain Python values.

    Raises:
        ValueError: A field is missing, unknown or of the wrong type.
    """
    if set(values) != set(_GIVEN):
        raise ValueError(f"entry has the fields {sorted(values)}; give exactly {sorted(_GIVEN)}")
    try:
        return {name: kind(values[name]) for name, kind in _GIVEN.items()}
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"entry {dict(values)}: {error}; label, round, seed are ints") from error


def pack(x: Tensor, encoding: Encoding) -> Tensor:
    """Convert pixels in [0, 1] to their stored type; `as_float` inverts."""
    dtype: torch.dtype = getattr(torch, encoding)
    return ((x * 255).round() if encoding == "uint8" else x).to(dtype)


def read_back(x: Tensor, encoding: Encoding) -> Tensor:
    """Return samples in [0, 1] as they are read after they were stored in an encoding, like x."""
    return as_float(pack(x, encoding))


def smallest_encodings(still_fools: Tensor) -> list[Encoding]:
    """Choose for each sample the encoding of the fewest bytes in which it still fools.

    A sample that fools in none has nothing to lose and takes uint8.

    Args:
        still_fools: which samples fool after `read_back` from each of ENCODINGS, bool (3, B).

    >>> smallest_encodings(torch.tensor([[True, False], [True, True], [True, True]]))
    ['uint8', 'float16']
    """
    return [ENCODINGS[i] for i in still_fools.int().argmax(0).tolist()]  # the first that does


def exact_encodings(x: Tensor) -> list[Encoding]:
    """Choose uint8 for samples (B, ...) that it keeps exactly, else float16, off by 2**-12."""
    exact = (read_back(x, "uint8") == x).flatten(1).all(1)  # (B,)
    return ["uint8" if whole else "float16" for whole in exact.tolist()]


def encode(
    x: Tensor, entries: Sequence[Mapping[str, Any]], encodings: Sequence[Encoding]
) -> list[tuple[Tensor, Entry]]:
    """Encode samples for storage, each with its entry; the id follows from the place on disk.

    Args:
        x: `(B, ...)` float32 in [0, 1].
        entries: The given fields of each sample.
        encodings: How each is stored.

    Raises:
        ValueError: An entry lacks a field or has a wrong one.
    """
    known = [given_fields(entry) for entry in entries]
    packed = {encoding: pack(x, encoding).cpu() for encoding in set(encodings)}
    stored = [packed[encoding][row] for row, encoding in enumerate(encodings)]
    return [
        (pixels, Entry(**fields, encoding=encoding, hash=digest(pixels), id=""))
        for pixels, fields, encoding in zip(stored, known, encodings, strict=True)
    ]


def digest(stored: Tensor) -> str:
    """Hash the bytes of one stored sample, 32 hex digits."""
    return hashlib.blake2b(stored.contiguous().numpy().tobytes(), digest_size=16).hexdigest()
