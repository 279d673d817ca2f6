"""One perturbed sample: its metadata, and the smallest encoding that still fools."""

import hashlib
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from augment.dataset import as_float

Encoding = Literal["uint8", "float16", "float32"]
Status = Literal["pending", "accepted", "rejected"]
StillFools = Callable[[Tensor], Tensor]

DTYPES: dict[Encoding, torch.dtype] = {
    "uint8": torch.uint8,
    "float16": torch.float16,
    "float32": torch.float32,
}
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
        status: Verdict of the review.
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


_GIVEN: dict[str, Callable[[Any], object]] = {
    "source": str,
    "label": operator.index,
    "round": operator.index,
    "attack": str,
    "seed": operator.index,
    "loss": float,
    "linf": float,
    "l2": float,
    "l1": float,
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
    return (x * 255).round().to(torch.uint8) if encoding == "uint8" else x.to(DTYPES[encoding])


def choose_encodings(x: Tensor, fools: StillFools | None) -> list[Encoding]:
    """Choose for each sample the smallest encoding whose rounding does no harm.

    With `fools`, that is the first of uint8, float16, float32 whose round trip still fools; a
    sample that does not fool at all has nothing to lose and takes uint8. Without, uint8 where
    it is exact, else float16: off by at most 2**-12.

    Args:
        x: `(B, ...)` float32 in [0, 1].
        fools: `(B, ...)` -> `(B,)` bool; always called with the whole batch.

    Returns:
        B encodings.
    """
    trips = torch.stack([as_float(pack(x, encoding)) for encoding in ENCODINGS])  # (3, B, ...)
    level = torch.zeros(len(x), dtype=torch.int64, device=x.device)  # (B,) place in ENCODINGS
    if fools is None:
        level = (trips[0] != x).flatten(1).any(1).long()
        return [ENCODINGS[i] for i in level.tolist()]
    every = torch.arange(len(x), device=x.device)
    for step in range(len(ENCODINGS)):
        if (level == step).any():
            failed = (level == step) & ~fools(trips[level, every]).to(level.device)
            level[failed] = (step + 1) % len(ENCODINGS)
    return [ENCODINGS[i] for i in level.tolist()]


def encode(
    x: Tensor, entries: Sequence[Mapping[str, Any]], fools: StillFools | None
) -> list[tuple[Tensor, Entry]]:
    """Encode samples for storage, each with its entry; the id follows from the place on disk.

    Args:
        x: `(B, ...)` float32 in [0, 1].
        entries: The given fields of each sample.
        fools: As in `choose_encodings`.

    Raises:
        ValueError: An entry lacks a field or has a wrong one.
    """
    known = [given_fields(entry) for entry in entries]
    chosen = choose_encodings(x, fools)
    packed = {encoding: pack(x, encoding).cpu() for encoding in set(chosen)}
    stored = [packed[encoding][row] for row, encoding in enumerate(chosen)]
    return [
        (pixels, Entry(**fields, encoding=encoding, hash=digest(pixels), id=""))
        for pixels, fields, encoding in zip(stored, known, chosen, strict=True)
    ]


def digest(stored: Tensor) -> str:
    """Hash the bytes of one stored sample, 32 hex digits."""
    return hashlib.blake2b(stored.contiguous().numpy().tobytes(), digest_size=16).hexdigest()
