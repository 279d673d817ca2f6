"""A chunk of samples as bytes: states and words of the entropy coder, then raw bits."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from compress.entropy.coding_order import SubbandChannel
from compress.entropy.contexts import Ints
from compress.entropy.rans import SCALE_BITS, Batch, RansDecoder, rans_encode
from compress.entropy.symbols import ESCAPE, pack_raw_bits, to_symbols, unpack_raw_bits
from compress.entropy.tables import Tables
from compress.entropy.traversal import CodingUnit, traverse
from compress.errors import FormatError

# Each lane costs two bytes, and so has some bytes to itself; more symbols would take too long.
LANE_BYTES, LANE_SYMBOLS = 256, 8192
MAX_LANES = 2**15


@dataclass
class SymbolEncoder:
    """Collects batches of symbols for the entropy coder."""

    tables: Tables
    batches: list[Batch] = field(default_factory=list)

    def flags(self, contexts: Ints, block: Ints) -> NDArray[np.bool_]:
        """Encode which samples have a nonzero subband."""
        flags = np.asarray(block.any((1, 2, 3)))
        self.batches.append(self.tables.flag_frequencies.spans(contexts, flags.astype(np.int32)))
        return flags

    def symbols(self, unit: CodingUnit, part: Ints) -> Ints:
        """Encode the symbols of a unit."""
        tables, symbols = self.tables.select_tables(unit), part.ravel()
        possible = self.tables.symbols[tables, symbols] > 0
        symbols = np.where(possible, symbols, ESCAPE).astype(np.int32)
        self.batches.append(self.tables.symbol_frequencies.spans(tables, symbols))
        return symbols.reshape(part.shape)


@dataclass
class SymbolDecoder:
    """Decodes symbols from a stream."""

    tables: Tables
    stream: RansDecoder

    def flags(self, contexts: Ints, block: Ints) -> NDArray[np.bool_]:
        """Decode which samples have a nonzero subband."""
        return np.asarray(self.stream.take(self.tables.flag_frequencies, contexts) == 1)

    def symbols(self, unit: CodingUnit, part: Ints) -> Ints:
        """Decode the symbols of a unit."""
        tables = self.tables.select_tables(unit)
        return self.stream.take(self.tables.symbol_frequencies, tables).reshape(part.shape)


def encode_chunk(
    q: Ints,
    order: list[SubbandChannel],
    tables: Tables,
    *,
    quantiser_index: int,
    wide: bool = False,
) -> bytes:
    """Encode quantised coefficients (B, C, T, H, W) to bytes."""
    symbols = to_symbols(np.abs(q))
    writer = SymbolEncoder(tables)
    traverse(writer, symbols, order, quantiser_index=quantiser_index)
    some = symbols != 0
    raw = pack_raw_bits(q[some], symbols[some], wide=wide)
    lanes = _choose_lanes(writer.batches)
    head = np.zeros(2 * lanes, np.uint8)
    head[: len(raw)] = raw[: 2 * lanes]
    states, words = rans_encode(writer.batches, lanes, head.view("<u2").astype(np.uint16))
    chunk = b"".join(
        [
            np.uint16(lanes).astype("<u2").tobytes(),
            np.uint32(len(words)).astype("<u4").tobytes(),
            states.astype("<u4").tobytes(),
            words.astype("<u2").tobytes(),
            raw[2 * lanes :].tobytes(),
        ]
    )
    return chunk + bytes(max(len(writer.batches) - _max_batches(len(chunk)), 0))


def _max_batches(size: int) -> int:
    """Return the most batches that a chunk of `size` bytes may have; a smaller one is padded."""
    return 4096 + size


def _choose_lanes(batches: list[Batch]) -> int:
    """Choose the number of lanes for the symbols."""
    bits = sum(float((SCALE_BITS - np.log2(of)).sum()) for of, _ in batches)
    symbols = sum(len(of) for of, _ in batches)
    return int(min(max(bits / 8 / LANE_BYTES, -(-symbols // LANE_SYMBOLS), 1), MAX_LANES))


def decode_chunk(
    data: bytes,
    shape: tuple[int, ...],
    order: list[SubbandChannel],
    tables: Tables,
    *,
    quantiser_index: int,
    wide: bool = False,
) -> Ints:
    """Decode quantised coefficients (B, C, T, H, W) from bytes.

    Raises:
        FormatError: for bytes that are no chunk of this shape.
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
    stream = RansDecoder(states, words, rows=LANE_SYMBOLS, batches=_max_batches(len(data)))
    symbols = np.zeros(shape, np.int32)
    traverse(SymbolDecoder(tables, stream), symbols, order, quantiser_index=quantiser_index)
    raw = stream.rest().astype("<u2").tobytes() + data[end:]
    some = symbols != 0
    out = np.zeros(shape, np.int32)
    out[some] = unpack_raw_bits(np.frombuffer(raw, np.uint8), symbols[some], wide=wide)
    return out
