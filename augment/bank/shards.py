"""Shard files of the sample bank: written whole or not at all, and checked on opening."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from attacks.errors import RefusedInput
from attacks.files import packed, sync_folder, write_partial
from augment.bank.samples import ENCODINGS, Encoding, Entry, digest, given_fields
from augment.dataset import as_float

FORMAT = "sparring-bank-1"
Pair = tuple[Tensor, Entry]
_ENTRY_BYTES = 512  # what an entry takes in the header, generously
_STORED_AS = {"uint8": "U8", "float16": "F16", "float32": "F32"}
RANK = "rank000"  # in every file name, since one process writes a bank
_NAME = re.compile(rf"(?P<key>.+)\.{RANK}\.(?P<part>\d+)of(?P<parts>\d+)\.safetensors")


@dataclass(frozen=True, order=True)
class ShardName:
    """The name of a shard file; part 2 of 3 is the second of three files of a key."""

    key: str
    parts: int
    part: int

    def __str__(self) -> str:
        """Format the file name."""
        return f"{self.key}.{RANK}.{self.part}of{self.parts}.safetensors"

    @classmethod
    def parse(cls, text: str) -> "ShardName | None":
        """Parse a file name; None for a file that is no shard."""
        found = _NAME.fullmatch(text)
        if found is None:
            return None
        name = cls(found["key"], int(found["parts"]), int(found["part"]))
        return name if str(name) == text else None


@dataclass(frozen=True)
class Shard:
    """An open shard: its entries, and its pixels, which the system pages in when touched."""

    path: Path
    entries: list[Entry]
    shape: tuple[int, ...] | None

    @cached_property
    def _samples(self) -> list[Tensor]:
        """Every stored sample, mapped from the file; checked against the hashes once."""
        try:
            with safe_open(self.path, framework="pt") as file:
                stored = {name: iter(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise refusal(self.path, str(error)) from error
        samples = [next(stored[entry.encoding]) for entry in self.entries]
        for sample, entry in zip(samples, self.entries, strict=True):
            if digest(sample) != entry.hash:
                raise refusal(self.path, f"pixels of {entry.id} do not match their hash")
        return samples

    def pixels(self, row: int) -> Tensor:
        """Read the sample of a row, `(C, H, W)` float32 in [0, 1]."""
        return as_float(self._samples[row]).clone()  # no view that could write into the file


class StoredPixels:
    """Chosen samples of open shards, read when asked for; appends to the bank do not move them."""

    def __init__(self, places: Sequence[tuple[Shard, int]], shape: Sequence[int]) -> None:
        """Remember the places.

        Args:
            places: Shard and row of each sample.
            shape: Shape of one sample.
        """
        self._places, self.shape = list(places), (len(places), *shape)

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Read samples `(B, C, H, W)` float32 in [0, 1].

        Raises:
            RefusedInput: The pixels do not match their hash.
        """
        x = torch.empty(len(rows), *self.shape[1:])  # (B, C, H, W)
        for place, row in enumerate(rows.tolist()):
            shard, row_there = self._places[row]
            x[place] = shard.pixels(row_there)
        return x


def refusal(path: Path, reason: str) -> RefusedInput:
    """Make the error of a bank file that cannot be used."""
    return RefusedInput(f"{path}: {reason}; delete this file and run again to regenerate it")


def _split_bytes(pairs: Sequence[Pair], limit: int) -> list[list[Pair]]:
    """Cut samples into consecutive pieces of at most `limit` bytes, or of one sample.

    Returns:
        At least one piece; no sample gives one empty piece, so that its key leaves a file.
    """
    pieces: list[list[Pair]] = [[]]
    room = limit
    for stored, entry in pairs:
        size = stored.nbytes + _ENTRY_BYTES
        if pieces[-1] and size > room:
            pieces.append([])
            room = limit
        pieces[-1].append((stored, entry))
        room -= size
    return pieces


def write_shards(folder: Path, key: str, pairs: Sequence[Pair], *, limit: int) -> list[Shard]:
    """Write the shards of a key, down to the disk: all of them or none.

    Args:
        folder: Folder of the bank.
        key: The key.
        pairs: Packed samples with their entries.
        limit: Largest size of a shard of several samples, in bytes.

    Returns:
        The shards, opened.

    Raises:
        OSError: The disk is full or the folder cannot be written; no file is left.
    """
    pieces = _split_bytes(pairs, limit)
    names = [ShardName(key, len(pieces), i + 1) for i in range(len(pieces))]
    finals = [folder / str(name) for name in names]
    partials: list[Path] = []
    try:
        for final, piece in zip(finals, pieces, strict=True):
            partials.append(write_partial(final, _shard_bytes(final.name, piece)))
        for partial, final in zip(partials, finals, strict=True):
            partial.replace(final)
        sync_folder(folder)
    except BaseException:
        for path in partials + finals:
            path.unlink(missing_ok=True)
        raise
    return open_shards(folder, names)


def _shard_bytes(name: str, pairs: Sequence[Pair]) -> bytes:
    """Serialise a shard: one tensor per encoding, entries and their hash as metadata."""
    tensors: dict[str, Tensor] = {
        encoding: torch.stack(rows)  # (n, C, H, W)
        for encoding in ENCODINGS
        if (rows := [stored for stored, entry in pairs if entry.encoding == encoding])
    }
    # The id follows from an entry's place, the status is in the log of reviews.
    own = [{n: v for n, v in asdict(e).items() if n not in ("id", "status")} for _, e in pairs]
    text = json.dumps(own)
    metadata = {"format": FORMAT, "name": name, "entries": text, "digest": _checksum(text)}
    return packed(tensors, metadata)


def open_shards(folder: Path, names: Sequence[ShardName]) -> list[Shard]:
    """Open all shards of a key and check their headers.

    Pixels are checked against their hashes when first read. All samples are pending.

    Raises:
        RefusedInput: A file is truncated, not a shard, or contradicts itself.
    """
    shards: list[Shard] = []
    for name in names:
        shards.append(_open_shard(folder, name, first_row=sum(len(s.entries) for s in shards)))
    return shards


def _open_shard(folder: Path, name: ShardName, *, first_row: int) -> Shard:
    path = folder / str(name)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            slices = {kind: file.get_slice(kind) for kind in file.keys()}  # noqa: SIM118
            shapes = {kind: tuple(part.get_shape()) for kind, part in slices.items()}
            dtypes = {kind: part.get_dtype() for kind, part in slices.items()}
    except (OSError, SafetensorError) as error:
        raise refusal(path, f"not a whole safetensors file ({error})") from error
    text = metadata.get("entries", "")
    if metadata.get("format") != FORMAT or metadata.get("name") != path.name:
        raise refusal(path, f"not a {FORMAT} shard of this name")
    if metadata.get("digest") != _checksum(text):
        raise refusal(path, "entries do not match their hash")
    prefix = f"{name.key}.{RANK.removeprefix('rank')}"
    entries = _parse_entries(path, text, prefix=prefix, first_row=first_row)
    counted = Counter(str(entry.encoding) for entry in entries)
    if counted != {kind: shape[0] if shape else 0 for kind, shape in shapes.items()}:
        raise refusal(path, f"{dict(counted)} entries but tensors of shapes {shapes}")
    if len({shape[1:] for shape in shapes.values()}) > 1:
        raise refusal(path, f"samples of different shapes {shapes}")
    if any(dtypes[kind] != _STORED_AS[kind] for kind in counted):
        raise refusal(path, f"tensors of types {dtypes}, not {_STORED_AS}")
    return Shard(path, entries, next((shape[1:] for shape in shapes.values()), None))


def _checksum(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _parse_entries(path: Path, text: str, *, prefix: str, first_row: int) -> list[Entry]:
    try:
        entries = []
        for row, raw in enumerate(json.loads(text), start=first_row):
            encoding: Encoding = ENCODINGS[ENCODINGS.index(raw.pop("encoding"))]
            hashed = str(raw.pop("hash"))
            entry = Entry(**given_fields(raw), encoding=encoding, hash=hashed, id=f"{prefix}.{row}")
            entries.append(entry)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise refusal(path, f"entries cannot be read ({error})") from error
    return entries
