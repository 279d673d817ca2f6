"""Magnitudes as symbols: small ones each its own, large ones two buckets an octave.

The remainder within a bucket, and the sign, are raw bits. Magnitudes above all buckets escape.
"""

from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from compress.errors import FormatError

Ints = NDArray[np.int32]
Bytes = NDArray[np.uint8]

EXACT = 5  # magnitudes 0 to 4
OCTAVES = 18
BITS = np.array([0] * EXACT + [k + 1 for k in range(OCTAVES - 1) for _ in range(2)], np.int32)
FLOOR = np.array(list(accumulate([1 << b for b in BITS], initial=0))[:-1], np.int32)
LARGEST = int(FLOOR[-1]) + (1 << int(BITS[-1])) - 1
ESCAPE = len(FLOOR)  # for a bucket that a table does not have, and for what is above all of them
SYMBOLS = ESCAPE + 1
MOST = 2**31 - 1  # that is coded at all
# Raw bits of each symbol, but for the sign; of an escape 20, or in wide files 31.
_OPEN = {wide: np.append(BITS, np.int32(m.bit_length())) for wide, m in ((0, LARGEST), (1, MOST))}
_BASE = np.append(FLOOR, np.int32(0))
_ENDS = np.append(FLOOR, np.int32(LARGEST + 1))
_SMALL = (np.searchsorted(FLOOR, np.arange(4096), side="right") - 1).astype(np.int32)
# The magnitude of each symbol as a context; escaped ones count as 64.
CONTEXT_MAGNITUDE = np.append(FLOOR, np.int32(64))


def to_symbols(magnitude: Ints) -> Ints:
    """Map each magnitude, 0 to MOST, to its symbol.

    >>> to_symbols(np.array([0, 4, 5, 6, 7, 9, 12, 13]))
    array([0, 4, 5, 5, 6, 7, 7, 8], dtype=int32)
    >>> to_symbols(np.array([LARGEST, LARGEST + 1, MOST])) - ESCAPE
    array([-1,  0,  0], dtype=int32)
    """
    if magnitude.max(initial=0) < len(_SMALL):
        return _SMALL[magnitude]
    return (np.searchsorted(_ENDS, magnitude, side="right") - 1).astype(np.int32)


def pack_raw_bits(values: Ints, symbols: Ints, *, wide: bool = False) -> Bytes:
    """Pack the raw bits of nonzero values (N,) with symbols (N,).

    Of each, the sign, then the remainder within its bucket, the lowest bit first.

    Args:
        values: quantised coefficients.
        symbols: of the values.
        wide: whether any is above LARGEST: escapes then have 31 bits, not 20.
    """
    rest = np.abs(values) - _BASE[symbols]
    raw = (rest.astype(np.int64) << 1) | (values < 0)
    count = _OPEN[wide][symbols] + 1
    ends = np.cumsum(count)
    starts = ends - count
    bits = np.zeros(int(ends[-1]) if len(ends) else 0, np.uint8)
    for bit in range(int(count.max(initial=0))):
        has = count > bit
        bits[starts[has] + bit] = (raw[has] >> bit) & 1
    return np.packbits(bits, bitorder="little")


def unpack_raw_bits(data: Bytes, symbols: Ints, *, wide: bool = False) -> Ints:
    """Restore nonzero values (N,) from symbols (N,) and raw bits; see `pack_raw_bits`.

    Raises:
        FormatError: for fewer bits than the symbols need, or set bits beyond.
    """
    count = _OPEN[wide][symbols] + 1
    ends = np.cumsum(count, dtype=np.int64)
    starts, needed = ends - count, int(ends[-1]) if len(ends) else 0
    bits = np.unpackbits(data, bitorder="little")
    if len(bits) < needed or bits[needed:].any():
        raise FormatError(f"the raw bits are {len(bits)}, {needed} are called for")
    raw = np.zeros(len(symbols), np.int64)
    for bit in range(int(count.max(initial=0))):
        has = count > bit
        raw[has] |= bits[starts[has] + bit].astype(np.int64) << bit
    magnitude = ((raw >> 1) + _BASE[symbols]).astype(np.int32)
    return np.where(raw & 1, -magnitude, magnitude)
