"""A chunk of samples as bytes: states and words of the entropy coder, then raw bits."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from compress.entropy.contexts import Ints
from compress.entropy.places import Place
from compress.entropy.rans import SCALE_BITS, Batch, Decoder, encode
from compress.entropy.symbols import ESCAPE, buckets, pack, unpack
from compress.entropy.tables import Tables
from compress.entropy.traversal import Spot, traverse
from compress.errors import FormatError

# Each lane costs two bytes, and so has some bytes to itself; more symbols would take too long.
LANE_BYTES, LANE_SYMBOLS = 256, 8192
MAX_LANES = 2**15


@dataclass
class Writer:
    """A coder that collects batches of symbols."""

    tables: Tables
    batches: list[Batch] = field(default_factory=list)

    def flags(self, contexts: Ints, block: Ints) -> NDArray[np.bool_]:
        """Code who has anything."""
        has = np.asarray(block.any((1, 2, 3)))
        self.batches.append(self.tables.of_flags.spans(contexts, has.astype(np.int32)))
        return has

    def symbols(self, spot: Spot, part: Ints) -> Ints:
        """Code a phase."""
        tables, symbols = self.tables.choose(spot), part.ravel()
        possible = self.tables.symbols[tables, symbols] > 0
        symbols = np.where(possible, symbols, ESCAPE).astype(np.int32)
        self.batches.append(self.tables.of_symbols.spans(tables, symbols))
        return symbols.reshape(part.shape)


@dataclass
class Reader:
    """A coder that takes symbols from a stream."""

    tables: Tables
    stream: Decoder

    def flags(self, contexts: Ints, block: Ints) -> NDArray[np.bool_]:
        """Decode who has anything."""
        return np.asarray(self.stream.take(self.tables.of_flags, contexts) == 1)

    def symbols(self, spot: Spot, part: Ints) -> Ints:
        """Decode a phase."""
        tables = self.tables.choose(spot)
        return self.stream.take(self.tables.of_symbols, tables).reshape(part.shape)


def encode_chunk(
    q: Ints, places: list[Place], tables: Tables, *, fineness: int, wide: bool = False
) -> bytes:
    """Return quantised coefficients (B, C, T, H, W) as bytes; `decode_chunk` undoes it."""
    symbols = buckets(np.abs(q))
    writer = Writer(tables)
    traverse(writer, symbols, places, fineness=fineness)
    some = symbols != 0
    raw = pack(q[some], symbols[some], wide=wide)
    lanes = _lanes(writer.batches)
    head = np.zeros(2 * lanes, np.uint8)
    head[: len(raw)] = raw[: 2 * lanes]
    states, words = encode(writer.batches, lanes, head.view("<u2").astype(np.uint16))
    chunk = b"".join(
        [
            np.uint16(lanes).astype("<u2").tobytes(),
            np.uint32(len(words)).astype("<u4").tobytes(),
            states.astype("<u4").tobytes(),
            words.astype("<u2").tobytes(),
            raw[2 * lanes :].tobytes(),
        ]
    )
    return chunk + bytes(max(len(writer.batches) - _batches(len(chunk)), 0))


def _batches(size: int) -> int:
    """Return how many batches a chunk of so many bytes may have; a smaller one is padded."""
    return 4096 + size


def _lanes(batches: list[Batch]) -> int:
    """Return how many lanes to deal the symbols to."""
    bits = sum(float((SCALE_BITS - np.log2(of)).sum()) for of, _ in batches)
    symbols = sum(len(of) for of, _ in batches)
    return int(min(max(bits / 8 / LANE_BYTES, -(-symbols // LANE_SYMBOLS), 1), MAX_LANES))


def decode_chunk(
    data: bytes,
    shape: tuple[int, ...],
    places: list[Place],
    tables: Tables,
    *,
    fineness: int,
    wide: bool = False,
) -> Ints:
    """Return the coefficients, of shape (B, C, T, H, W).

    Raises:
        FormatError: when the bytes are no such chunk.
    """
    if len(data) < 6:
        raise FormatError(f"a chunk has {len(data)} bytes, fewer than its own head")
    lanes, count = int.from_bytes(data[:2], "little"), int.from_bytes(data[2:6], "little")
    start = 6 + 4 * lanes
    end = start + 2 * count
    if not 1 <= lanes <= MAX_LANES or end > len(data):
        raise FormatError(f"a chunk of {len(data)} bytes claims {lanes} lanes, {count} words")
    states = np.frombuffer(data, "<u4", lanes, 6).astype(np.uint32)
    words = np.frombuffer(data, "<u2", count, start).astype(np.uint16)
    stream = Decoder(states, words, rows=LANE_SYMBOLS, batches=_batches(len(data)))
    symbols = np.zeros(shape, np.int32)
    traverse(Reader(tables, stream), symbols, places, fineness=fineness)
    raw = stream.rest().astype("<u2").tobytes() + data[end:]
    some = symbols != 0
    out = np.zeros(shape, np.int32)
    out[some] = unpack(np.frombuffer(raw, np.uint8), symbols[some], wide=wide)
    return out
