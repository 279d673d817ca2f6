"""Files that are wrong: parts of good ones changed, their check sums made to fit."""

import struct
import zlib
from dataclasses import dataclass, field

import numpy as np

from compress.entropy.tables import Tables
from compress.file_format import _HEADS, parse

EXTREMES = (0, 1, 2, 3, 15, 16, 17, 63, 64, 65, 127, 128, 254, 255)
# The head's fields: where, and how they are packed.
FIELDS = (
    (4, "B"), (5, "B"), (6, "H"), (8, "B"), (9, "B"), (10, "B"), (11, "B"), (12, "B"), (13, "f"),
    (17, "I"), (21, "H"), (23, "H"), (25, "H"), (27, "H"), (29, "I"), (33, "8s"), (41, "I"),
    (45, "8s"), (53, "I"), (57, "I"),
)  # fmt: skip
WAYS = ("bits", "cut", "splice", "fields", "tables", "chunk", "bytes", "names", "several")


@dataclass
class Parts:
    """A file in pieces that are put together again with check sums that fit."""

    first: bytearray
    sizes: list[int]
    tables: bytes
    names: bytes
    chunks: list[bytes] = field(default_factory=list)

    @classmethod
    def of(cls, data):
        """Take a good file apart."""
        file = parse(data)
        end = _HEADS[data[5]]
        tables = file.head.tables
        spans = file.spans
        after = end + 8 * len(spans) + 4 + (len(tables) + 4 if tables else 0)
        names = data[after : spans[0][0] - 4] if spans[0][0] > after else b""
        return cls(
            bytearray(data[:end]),
            [b - a for a, b in spans],
            tables,
            names,
            [file.chunk(i) for i in range(len(spans))],
        )

    def joined(self):
        """Return the file."""
        index = b"".join(
            struct.pack("<II", size, zlib.crc32(chunk))
            for size, chunk in zip(self.sizes, self.chunks, strict=True)
        )
        parts = [bytes(self.first) + index, self.tables, self.names]
        summed = [part + struct.pack("<I", zlib.crc32(part)) for part in parts if part]
        return b"".join([*summed, *self.chunks])


def mutated(files, rng):
    """Return a file made of good ones by one to three changes, each of one of WAYS."""
    data = files[rng.integers(len(files))]
    for _ in range(rng.integers(1, 4)):
        data = _changed(data, files, WAYS[rng.integers(len(WAYS))], rng)
    return data


def _changed(data, files, way, rng):
    if way in ("bits", "bytes", "cut", "splice", "several"):
        return _raw(bytearray(data), files, way, rng)
    try:
        return _structured(Parts.of(data), way, rng)
    except (ValueError, zlib.error):  # it is broken already
        return _raw(bytearray(data), files, "bits", rng)


def _raw(data, files, way, rng):
    size = len(data)
    if way == "cut" or not size:
        return bytes(data[: rng.integers(size + 1)])
    if way == "splice":
        other = files[rng.integers(len(files))]
        return bytes(data[: rng.integers(size)]) + other[rng.integers(len(other)) :]
    if way == "several":
        return bytes(data) * 2 if rng.random() < 0.5 else bytes(data) + files[0]
    for _ in range(rng.integers(1, 4)):
        # Half of them where the structure is: mostly there are tables.
        place = int(rng.integers(min(size, 90) if rng.random() < 0.5 else size))
        value = 1 << rng.integers(8) if way == "bits" else int(rng.integers(256))
        data[place] ^= value
    return bytes(data)


def _structured(parts, way, rng):
    if way == "fields":
        for _ in range(rng.integers(1, 4)):
            _field(parts.first, rng)
        if rng.random() < 0.2:
            parts.sizes[0] = int(rng.choice((0, 1, 2**16, 2**31, 2**32 - 1)))
    elif way == "tables" and parts.tables:
        parts.tables = _tables(parts.tables, rng)
        struct.pack_into("<I", parts.first, 41, len(parts.tables))
        if rng.random() < 0.9:
            _sign(parts)
    elif way == "names" and parts.names:
        text = bytearray(zlib.decompress(parts.names))
        text[rng.integers(len(text))] = int(rng.choice((0, 46, 47, 255, 97)))
        if rng.random() < 0.3:
            text = bytearray(bytes(10**7))
        parts.names = zlib.compress(bytes(text))
        struct.pack_into("<I", parts.first, 57, len(parts.names))
    elif parts.chunks:
        number = int(rng.integers(len(parts.chunks)))
        parts.chunks[number] = _chunk(bytearray(parts.chunks[number]), rng)
        parts.sizes[number] = len(parts.chunks[number])
    return parts.joined()


def _field(first, rng):
    place, form = FIELDS[rng.integers(len(FIELDS))]
    size = struct.calcsize("<" + form)
    if place + size > len(first):
        return
    if form == "f":
        value = float(rng.choice((0, -1, 1e-38, 1e-5, 1e-4, 1, 9e3, 1e4, 3e38, np.inf, np.nan)))
    elif form == "8s":
        value = bytes(rng.integers(0, 256, 8, dtype=np.uint8))
    else:
        top = 256**size - 1
        value = int(rng.choice([*EXTREMES, 256, 4096, 4097, 16384, 16385, top // 2, top])) & top
    struct.pack_into("<" + form, first, place, value)


def _tables(packed, rng):
    """Change numbers of tables: weights to anything, frequencies so that they still add up."""
    numbers = np.frombuffer(zlib.decompress(packed), "<i2").copy()
    for _ in range(rng.integers(1, 60)):
        numbers[rng.integers(len(numbers))] = rng.choice((-32768, -1, 0, 1, 255, 16384, 32767))
    good = _known(packed)
    if good is not None and rng.random() < 0.7:
        weights = numbers[: good.weights.size].reshape(good.weights.shape).astype(np.int32)
        flags = good.flags.copy()
        for _ in range(rng.integers(3)):
            flags[rng.integers(len(flags))] = rng.choice((1, 5, 2**14 - 1, 0, -1, 2**14, 32767))
        whole = Tables(weights, _normalise_counts(good.symbols, rng), flags)
        numbers = np.frombuffer(whole.to_bytes(), "<i2")
    data = numbers.tobytes()
    return zlib.compress(data + bytes(rng.integers(3)) if rng.random() < 0.1 else data)


def _known(packed):
    try:
        return Tables.unpack(packed)
    except ValueError:  # they were changed before
        return None


def _normalise_counts(symbols, rng):
    out = symbols.copy()
    for row in rng.integers(0, len(out), 20):
        out[row] = 0
        out[row, rng.integers(out.shape[1])] = 2**14 - 1
        out[row, -1] += 2**14 - out[row].sum()
    return out


def _sign(parts):
    """Name the tables by their own digest."""
    import hashlib

    try:
        numbers = zlib.decompress(parts.tables)
    except zlib.error:
        return
    parts.first[33:41] = hashlib.sha256(numbers).digest()[:8]


def _chunk(chunk, rng):
    for _ in range(rng.integers(1, 5)):
        way, place = rng.integers(5), int(rng.integers(len(chunk) + 1))
        if way == 0 and place < len(chunk):
            chunk[place] ^= 1 << rng.integers(8)
        elif way == 1 and len(chunk) >= 6:
            struct.pack_into("<H", chunk, 0, int(rng.choice((0, 1, 2, 255, 2**15, 2**16 - 1))))
        elif way == 2 and len(chunk) >= 6:
            struct.pack_into("<I", chunk, 2, int(rng.choice((0, 1, 2, 2**16, 2**31, 2**32 - 1))))
        elif way == 3:
            del chunk[place : place + int(rng.integers(1, 9))]
        else:
            chunk += bytes(int(rng.integers(1, 400)))
    return bytes(chunk)
