"""The file around the chunks; docs/compression.md has it byte by byte."""

import math
import struct
import zlib
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Literal, get_args

from compress.errors import FormatError
from compress.lifting import STEPS

Kind = Literal["x", "x-task", "delta"]
KINDS: tuple[Kind, ...] = get_args(Kind)
WAVELETS = tuple(STEPS)
MAGIC = b"SPRC"
MAJOR, MINOR = 1, 1
_FIXED = struct.Struct("<4sBBH BBBBB fI HHHH I 8sI")
_MODEL = struct.Struct("<8s")  # since 1.1
_CHUNK = struct.Struct("<II")
_CRC = struct.Struct("<I")
# Nothing larger is coded or decoded.
MAX_SAMPLES, MAX_CHANNELS, MAX_LEVELS = 2**24, 64, 16
MAX_FRAMES, MAX_SIDE = 4096, 16384
MAX_SAMPLE = 2**27
STEP_RANGE = (1e-5, 1e4)
NO_MODEL = bytes(8)


@dataclass(frozen=True)
class Head:
    """What a file says of itself before its chunks.

    Attributes:
        kind: what is coded.
        wavelet: its wavelet.
        levels: its levels in space.
        time_levels: those in time.
        step: of the quantiser.
        samples: how many.
        shape: of each, (C, H, W) or (C, T, H, W).
        per_chunk: samples in each chunk but the last.
        digest: that of the tables.
        tables: the tables themselves, deflated, or nothing.
        model: eight bytes that tell the network made for these samples, or zeros.
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

    def check(self) -> None:
        """Refuse what is larger than allowed, or makes no sense.

        Raises:
            FormatError: with the value and what is allowed.
        """
        c, t, h, w = self.volume
        for name, value, least, most in (
            ("samples", self.samples, 1, MAX_SAMPLES),
            ("channels", c, 1, MAX_CHANNELS),
            ("frames", t, 1, MAX_FRAMES),
            ("height", h, 1, MAX_SIDE),
            ("width", w, 1, MAX_SIDE),
            ("values of a sample", c * t * h * w, 1, MAX_SAMPLE),
            ("samples in a chunk", self.per_chunk, 1, self.samples),
            ("levels", self.levels, 0, MAX_LEVELS),
            ("levels in time", self.time_levels, 0, MAX_LEVELS if len(self.shape) == 4 else 0),
        ):
            if not least <= value <= most:
                raise FormatError(f"{name}: {value}; allowed: {least} to {most}")
        low, high = STEP_RANGE
        if not 0.99 * low <= self.step <= 1.01 * high:  # it was rounded to float32
            raise FormatError(f"step: {self.step}; allowed: {low:g} to {high:g}")

    @property
    def volume(self) -> tuple[int, int, int, int]:
        """The shape of a sample as (C, T, H, W)."""
        c, *rest = self.shape
        t, h, w = rest if len(rest) == 3 else (1, *rest)
        return c, t, h, w

    @property
    def chunks(self) -> list[int]:
        """How many samples each chunk holds."""
        whole, rest = divmod(self.samples, self.per_chunk)
        return [self.per_chunk] * whole + [rest] * (rest > 0)


def values_for(size: int) -> int:
    """Return how many values a chunk of so many bytes may hold; a smaller one is padded.

    Without a limit a few bytes could ask for any amount of memory.
    """
    return 2**16 + 2**11 * size


def padded(chunk: bytes, values: int) -> bytes:
    """Return a chunk with zeros after it, where it is too small for its values."""
    missing = -(-(values - values_for(len(chunk))) // 2**11)
    return chunk + bytes(max(missing, 0))


def write(head: Head, chunks: list[bytes], *, minor: int = MINOR) -> bytes:
    """Return a whole file; `minor` is for tests, which need older ones."""
    head.check()
    more = _MODEL.pack(head.model) if minor >= 1 else b""
    fixed = _FIXED.pack(
        MAGIC, MAJOR, minor, _FIXED.size + len(more),
        KINDS.index(head.kind), len(head.shape) == 4, WAVELETS.index(head.wavelet),
        head.levels, head.time_levels, head.step, head.samples, *head.volume,
        head.per_chunk, head.digest, len(head.tables),
    )  # fmt: skip
    index = b"".join(_CHUNK.pack(len(chunk), zlib.crc32(chunk)) for chunk in chunks)
    first = fixed + more + index
    tables = head.tables + _CRC.pack(zlib.crc32(head.tables)) if head.tables else b""
    return b"".join([first, _CRC.pack(zlib.crc32(first)), tables, *chunks])


@dataclass(frozen=True)
class Parsed:
    """A file taken apart.

    Attributes:
        head: what it says of itself.
        places: where each chunk begins and ends.
        sums: their check sums.
        data: the file.
    """

    head: Head
    places: list[tuple[int, int]]
    sums: list[int]
    data: bytes

    @property
    def payload(self) -> float:
        """Bytes a sample, without the head."""
        return sum(end - start for start, end in self.places) / self.head.samples

    def chunk(self, number: int) -> bytes:
        """Return a chunk.

        Raises:
            FormatError: when its check sum is another.
        """
        start, end = self.places[number]
        chunk = self.data[start:end]
        if zlib.crc32(chunk) != self.sums[number]:
            raise FormatError(
                f"chunk {number} of {len(self.sums)} is damaged: its check sum differs"
            )
        return chunk


def parse(data: bytes) -> Parsed:
    """Take a file apart; nothing large is allocated.

    Raises:
        FormatError: for anything that `write` does not write.
    """
    head, end, table_size = _head(data)
    count = -(-head.samples // head.per_chunk)
    start = end + count * _CHUNK.size + _CRC.size
    if len(data) < start:
        raise FormatError(f"the file has {len(data)} bytes; its head alone has {start}")
    if _CRC.unpack_from(data, start - _CRC.size)[0] != zlib.crc32(data[: start - _CRC.size]):
        raise FormatError("the head is damaged: its check sum differs")
    if table_size:
        tables = data[start : start + table_size]
        after = start + table_size + _CRC.size
        if len(data) < after:
            raise FormatError("the file ends within its tables")
        if _CRC.unpack_from(data, after - _CRC.size)[0] != zlib.crc32(tables):
            raise FormatError("the tables are damaged: their check sum differs")
        head, start = replace(head, tables=tables), after
    index = list(_CHUNK.iter_unpack(data[end : end + count * _CHUNK.size]))
    ends = list(accumulate((size for size, _ in index), initial=start))
    if ends[-1] != len(data):
        raise FormatError(f"the file has {len(data)} bytes; its chunks end at {ends[-1]}")
    values = math.prod(head.shape)
    for samples, (size, _) in zip(head.chunks, index, strict=True):
        if samples * values > values_for(size):
            raise FormatError(
                f"a chunk of {size} bytes claims {samples} samples of {values} values"
            )
    return Parsed(head, list(pairwise(ends)), [crc for _, crc in index], data)


def _head(data: bytes) -> tuple[Head, int, int]:
    """Read the head: it, where it ends, and how long the tables after it are."""
    if data[:4] != MAGIC:
        raise FormatError(f"this is no code: it begins with {data[:4]!r}, not {MAGIC!r}")
    if len(data) < _FIXED.size:
        raise FormatError(f"the file ends within its head: it has {len(data)} bytes")
    (_, major, minor, end, kind, is_video, wavelet, levels, time_levels, step, samples,
     c, t, h, w, per_chunk, digest, table_size) = _FIXED.unpack_from(data)  # fmt: skip
    if major != MAJOR or minor > MINOR:
        raise FormatError(
            f"this is version {major}.{minor} of the format, {MAJOR}.0 to {MAJOR}.{MINOR} are "
            "known: install a newer sparring"
        )
    if end != _FIXED.size + _MODEL.size * (minor >= 1) or len(data) < end:
        raise FormatError(f"the head claims {end} bytes, the file has {len(data)}")
    if kind >= len(KINDS) or wavelet >= len(WAVELETS) or is_video > 1 or (t > 1 and not is_video):
        raise FormatError(f"kind {kind}, wavelet {wavelet}, video {is_video}, {t} frames: unknown")
    model = _MODEL.unpack_from(data, _FIXED.size)[0] if minor >= 1 else NO_MODEL
    shape = (c, t, h, w) if is_video else (c, h, w)
    head = Head(
        KINDS[kind], WAVELETS[wavelet], levels, time_levels, step, samples, shape, per_chunk,
        digest, model=model,
    )  # fmt: skip
    head.check()
    return head, end, table_size
