"""A chunk of samples as bytes: states and words of the entropy coder, then raw bits."""

import struct

import numpy as np

from compress.entropy.contexts import traverse
from compress.entropy.rans import SCALE_BITS, Batch, RansDecoder, rans_encode
from compress.entropy.symbols import Ints, pack_raw_bits, to_symbols, unpack_raw_bits
from compress.entropy.tables import SymbolDecoder, SymbolEncoder, Tables
from compress.errors import FormatError
from compress.wavelet.bands import Band

# Each lane costs two bytes, and so has some bytes to itself; more symbols would take too long.
LANE_BYTES, LANE_SYMBOLS = 256, 8192
MAX_LANES = 2**15
_HEAD = struct.Struct("<HI")  # lanes, words


def encode_chunk(q: Ints, bands: list[Band], tables: Tables, *, step: float, wide: bool) -> bytes:
    """Encode coefficients (B, C, T, H, W) quantised with a step to bytes; see `pack_raw_bits`."""
    symbols = to_symbols(np.abs(q))
    writer = SymbolEncoder(tables)
    traverse(writer, symbols, bands, step)
    some = symbols != 0
    raw = pack_raw_bits(q[some], symbols[some], wide=wide)
    lanes = _choose_lanes(writer.batches)
    head = np.zeros(2 * lanes, np.uint8)
    head[: len(raw)] = raw[: 2 * lanes]
    states, words = rans_encode(writer.batches, lanes, head.view("<u2").astype(np.uint16))
    chunk = b"".join(
        [
            _HEAD.pack(lanes, len(words)),
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
    bands: list[Band],
    tables: Tables,
    *,
    step: float,
    wide: bool,
) -> Ints:
    """Decode quantised coefficients (B, C, T, H, W) from bytes.

    Raises:
        FormatError: for bytes that are no chunk of this shape.
    """
    if len(data) < _HEAD.size:
        raise FormatError(f"a chunk has {len(data)} bytes, fewer than its own head")
    lanes, count = _HEAD.unpack_from(data)
    start = _HEAD.size + 4 * lanes
    end = start + 2 * count
    if not 1 <= lanes <= MAX_LANES or end > len(data):
        raise FormatError(f"a chunk of {len(data)} bytes claims {lanes} lanes, {count} words")
    states = np.frombuffer(data, "<u4", lanes, _HEAD.size).astype(np.uint32)
    words = np.frombuffer(data, "<u2", count, start).astype(np.uint16)
    stream = RansDecoder(states, words, rows=LANE_SYMBOLS, batches=_max_batches(len(data)))
    symbols = np.zeros(shape, np.int32)
    traverse(SymbolDecoder(tables, stream), symbols, bands, step)
    raw = stream.rest().astype("<u2").tobytes() + data[end:]
    some = symbols != 0
    out = np.zeros(shape, np.int32)
    out[some] = unpack_raw_bits(np.frombuffer(raw, np.uint8), symbols[some], wide=wide)
    return out
