"""The container of the chunks; docs/compression.md has it byte by byte."""

import math
import struct
import zlib
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Literal, get_args

from compress import names
from compress.checks import (
    LEAST_CHUNK,
    MAX_LEVELS,
    STEP_RANGE,
    describe_excess,
    describe_outside,
    volume,
)
from compress.errors import FormatError
from compress.wavelet.lifting import WAVELETS

Kind = Literal["x", "x-task", "delta"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MAGIC = b"SPRC"
MAJOR, MINOR = 1, 2
_FIXED = struct.Struct("<4sBBH BBBBB fI HHHH I 8sI")
_MODEL = struct.Struct("<8s")  # since 1.1
_MORE = struct.Struct("<II")  # since 1.2
_HEADS = (_FIXED.size, _FIXED.size + _MODEL.size, _FIXED.size + _MODEL.size + _MORE.size)
_CHUNK = struct.Struct("<II")
_CRC = struct.Struct("<I")
NO_MODEL = bytes(8)


@dataclass(frozen=True)
class FileHeader:
    """The header of a code file.

    Attributes:
        kind: of the samples, see `Codec.encode`.
        wavelet: its wavelet.
        levels: its levels in space.
        time_levels: its levels in time.
        step: of the quantiser.
        samples: how many.
        shape: of each, (C, H, W) or (C, T, H, W).
        per_chunk: samples in each chunk but the last.
        digest: of the tables.
        tables: the tables themselves, deflated, or nothing.
        model: eight bytes that tell the network made for these samples, or zeros.
        wide: whether coefficients need the wide escapes of version 1.2.
        names: of the samples, or none.
    """

    kind: Kind
    wavelet: str
    levels: int
    time_levels: int
    step: float
    samples: int
    shape: tuple[int, ...]
    per_chunk: int
    digest: bytes
    tables: bytes = b""
    model: bytes = NO_MODEL
    wide: bool = False
    names: tuple[str, ...] = ()

    def check(self) -> None:
        """Check every field against its range.

        Raises:
            FormatError: for a value out of range.
        """
        in_time = MAX_LEVELS if len(self.shape) == 4 else 0
        text = describe_excess(self.samples, self.shape) or describe_outside(
            ("samples in a chunk", self.per_chunk, self.least_per_chunk, self.samples),
            ("levels", self.levels, 0, MAX_LEVELS),
            ("levels in time", self.time_levels, 0, in_time),
        )
        if text:
            raise FormatError(text)
        low, high = STEP_RANGE
        if not 0.99 * low <= self.step <= 1.01 * high:  # it was rounded to float32
            raise FormatError(f"step: {self.step}; allowed: {low:g} to {high:g}")

    @property
    def minor(self) -> int:
        """The oldest minor version of the format, from 1.1 on, that has these fields."""
        return 2 if self.wide or self.names else 1

    @property
    def volume(self) -> tuple[int, int, int, int]:
        """The shape of a sample as (C, T, H, W)."""
        return volume(self.shape)

    @property
    def least_per_chunk(self) -> int:
        """The least samples of each chunk but the last, so that files have few chunks."""
        return min(self.samples, -(-LEAST_CHUNK // math.prod(self.shape)))

    @property
    def chunks(self) -> list[int]:
        """The number of samples in each chunk."""
        whole, rest = divmod(self.samples, self.per_chunk)
        return [self.per_chunk] * whole + [rest] * (rest > 0)


def values_for(size: int) -> int:
    """Return how many values a chunk of `size` bytes may hold; a smaller chunk is padded.

    Without a limit a few bytes could ask for any amount of memory.
    """
    return 2**16 + 2**11 * size


def pad_chunk(chunk: bytes, values: int) -> bytes:
    """Append zeros to a chunk that is too small for its values."""
    missing = -(-(values - values_for(len(chunk))) // 2**11)
    return chunk + bytes(max(missing, 0))


def write(head: FileHeader, chunks: list[bytes], *, minor: int | None = None) -> bytes:
    """Join a header and chunks to a file; `minor` is for tests, which need older versions."""
    head.check()
    minor = head.minor if minor is None else minor
    named = names.pack(head.names) if head.names else b""
    more = [_MODEL.pack(head.model), _MORE.pack(head.wide, len(named))][:minor]
    fixed = _FIXED.pack(
        MAGIC, MAJOR, minor, _HEADS[minor],
        KINDS.index(head.kind), len(head.shape) == 4, WAVELETS.index(head.wavelet),
        head.levels, head.time_levels, head.step, head.samples, *head.volume,
        head.per_chunk, head.digest, len(head.tables),
    )  # fmt: skip
    index = b"".join(_CHUNK.pack(len(chunk), zlib.crc32(chunk)) for chunk in chunks)
    first = b"".join([fixed, *more, index])
    return b"".join(
        [_with_checksum(first), _with_checksum(head.tables), _with_checksum(named), *chunks]
    )


def _with_checksum(part: bytes) -> bytes:
    """Append its check sum to a part of the file; an empty part stays empty."""
    return part + _CRC.pack(zlib.crc32(part)) if part else b""


@dataclass(frozen=True)
class CodeFile:
    """A parsed code file.

    Attributes:
        head: its header.
        spans: where each chunk begins and ends.
        checksums: their check sums.
        data: the file.
    """

    head: FileHeader
    spans: list[tuple[int, int]]
    checksums: list[int]
    data: memoryview

    @property
    def payload(self) -> float:
        """Bytes a sample, without the head."""
        return sum(end - start for start, end in self.spans) / self.head.samples

    def chunk(self, number: int) -> bytes:
        """Return the bytes of a chunk.

        Raises:
            FormatError: for a wrong check sum.
        """
        start, end = self.spans[number]
        chunk = bytes(self.data[start:end])
        if zlib.crc32(chunk) != self.checksums[number]:
            raise FormatError(
                f"chunk {number} of {len(self.checksums)} is damaged: its check sum differs"
            )
        return chunk


def parse(data: bytes) -> CodeFile:
    """Parse a file into header and chunk spans; nothing large is allocated.

    Raises:
        FormatError: for anything that `write` does not write; also for a pack.
    """
    file, end = _parse_first(memoryview(data))
    if end != len(data):
        more = ": it is a pack, or damaged" if data[end : end + 4] == MAGIC else ""
        raise FormatError(f"the file has {len(data)} bytes; its chunks end at {end}{more}")
    return file


def parse_pack(data: bytes) -> list[CodeFile]:
    """Parse a pack: files one after another, of samples of several shapes.

    Where only the first has tables, they are those of the others too.

    Raises:
        FormatError: for bytes that are no pack, or a name that stands twice.
    """
    rest = memoryview(data)
    files: list[CodeFile] = []
    while rest or not files:
        file, end = _parse_first(rest)
        files.append(file)
        rest = rest[end:]
    tables, digest = files[0].head.tables, files[0].head.digest
    found = [name for file in files for name in file.head.names]
    if len(files) > 1 and (text := names.describe_fault(found, sum(f.head.samples for f in files))):
        raise FormatError(text)
    return [
        file
        if file.head.tables or file.head.digest != digest
        else replace(file, head=replace(file.head, tables=tables))
        for file in files
    ]


def _parse_first(data: memoryview) -> tuple[CodeFile, int]:
    """Parse the first file of some bytes; return the file and its end."""
    head, end, table_size, names_size = _read_header(data)
    count = -(-head.samples // head.per_chunk)
    start = end + count * _CHUNK.size
    if len(data) < start + _CRC.size:
        raise FormatError(f"the file has {len(data)} bytes; its head and index alone have {start}")
    _, after = _read_part(data, 0, start, "head is")
    index = list(_CHUNK.iter_unpack(data[end:start]))
    values = math.prod(head.shape)
    for samples, (size, _) in zip(head.chunks, index, strict=True):
        if samples * values > values_for(size):
            raise FormatError(
                f"a chunk of {size} bytes claims {samples} samples of {values} values"
            )
    tables, after = _read_part(data, after, table_size, "tables are")
    named, after = _read_part(data, after, names_size, "names are")
    ends = list(accumulate((size for size, _ in index), initial=after))
    if ends[-1] > len(data):
        raise FormatError(f"the file has {len(data)} bytes; its chunks end at {ends[-1]}")
    own = names.unpack(named, head.samples) if named else ()
    head = replace(head, tables=tables, names=own)
    file = CodeFile(head, list(pairwise(ends)), [crc for _, crc in index], data[: ends[-1]])
    return file, ends[-1]


def _read_part(data: memoryview, start: int, size: int, what: str) -> tuple[bytes, int]:
    """Read a part of the file and its check sum; return the part and its end.

    Raises:
        FormatError: for a file that ends before, or a wrong check sum.
    """
    if not size:
        return b"", start
    end = start + size
    if len(data) < end + _CRC.size:
        raise FormatError(f"the file has {len(data)} bytes: it ends within its {what.split()[0]}")
    if _CRC.unpack_from(data, end)[0] != zlib.crc32(data[start:end]):
        raise FormatError(f"the {what} damaged: the check sum differs")
    return bytes(data[start:end]), end + _CRC.size


def _read_header(data: memoryview) -> tuple[FileHeader, int, int, int]:
    """Read the header; return it, its end, and the sizes of the tables and the names."""
    if data[:4] != MAGIC:
        raise FormatError(f"this is no code: it begins with {bytes(data[:4])!r}, not {MAGIC!r}")
    if len(data) < _FIXED.size:
        raise FormatError(f"the file ends within its head: it has {len(data)} bytes")
    (_, major, minor, end, kind, is_video, wavelet, levels, time_levels, step, samples,
     c, t, h, w, per_chunk, digest, table_size) = _FIXED.unpack_from(data)  # fmt: skip
    if major != MAJOR or minor > MINOR:
        raise FormatError(
            f"this is version {major}.{minor} of the format, {MAJOR}.0 to {MAJOR}.{MINOR} are "
            "known: install a newer sparring"
        )
    if end != _HEADS[minor] or len(data) < end:
        raise FormatError(f"the head claims {end} bytes, the file has {len(data)}")
    if kind >= len(KINDS) or wavelet >= len(WAVELETS) or is_video > 1 or (t > 1 and not is_video):
        raise FormatError(f"kind {kind}, wavelet {wavelet}, video {is_video}, {t} frames: unknown")
    model = _MODEL.unpack_from(data, _HEADS[0])[0] if minor >= 1 else NO_MODEL
    wide, names_size = _MORE.unpack_from(data, _HEADS[1]) if minor >= 2 else (0, 0)
    if wide > 1:
        raise FormatError(f"flags {wide}: unknown")
    shape = (c, t, h, w) if is_video else (c, h, w)
    head = FileHeader(
        KINDS[kind], WAVELETS[wavelet], levels, time_levels, step, samples, shape, per_chunk,
        digest, model=model, wide=bool(wide),
    )  # fmt: skip
    head.check()
    return head, end, table_size, names_size
