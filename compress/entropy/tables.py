"""Fitted statistics: how large coefficients are to be expected, and how often symbols then are."""

import hashlib
import zlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from compress.entropy.contexts import FEATURES, PHASES, Feature, Ints
from compress.entropy.places import GROUPS, KINDS, group_of
from compress.entropy.rans import TOTAL, Frequencies
from compress.entropy.symbols import ESCAPE, SYMBOLS
from compress.entropy.traversal import FLAG_CONTEXTS, Spot
from compress.errors import FormatError

UNIT = 1024  # of an expected magnitude
BINS = 28
# Between these lie the bins of expected magnitudes.
EDGES = np.round(np.geomspace(0.004, 24, BINS - 1) * UNIT).astype(np.int32)
_BIN_OF = np.searchsorted(EDGES, np.arange(EDGES[-1] + 1), side="right").astype(np.int32)
TABLES = GROUPS * BINS
_WEIGHTS = (KINDS, len(PHASES), FEATURES)
_SHORT = np.dtype("<i2")
_BYTES = 2 * (KINDS * len(PHASES) * FEATURES + TABLES * SYMBOLS + KINDS * FLAG_CONTEXTS)


@dataclass(frozen=True)
class Tables:
    """All the statistics of a codec, 16-bit integers.

    Attributes:
        weights: of the features, by which a magnitude is expected, in 1/UNIT,
            (KINDS, phases, FEATURES).
        symbols: frequencies of the symbols in each bin, (TABLES, SYMBOLS), each row adding up
            to TOTAL.
        flags: frequencies of empty bands, in [1, TOTAL), (KINDS * FLAG_CONTEXTS,).
    """

    weights: Ints
    symbols: Ints
    flags: Ints

    @cached_property
    def of_symbols(self) -> Frequencies:
        """Those of the symbols, ready for use."""
        return Frequencies(self.symbols)

    @cached_property
    def of_flags(self) -> Frequencies:
        """Those of the flags, ready for use."""
        return Frequencies(np.stack([self.flags, TOTAL - self.flags], 1))

    def choose(self, spot: Spot) -> Ints:
        """Return the number of the table for each place of a spot, (A * h' * w',)."""
        expected = expect(spot.features, self.weights[spot.kind, spot.phase])
        expected = np.broadcast_to(expected, spot.shape).ravel()
        return np.asarray(_BIN_OF[expected.clip(0, EDGES[-1])] + BINS * group_of(spot.kind))

    def to_bytes(self) -> bytes:
        """Return all numbers, little-endian."""
        parts = (self.weights, self.symbols, self.flags)
        return b"".join(part.astype(_SHORT).tobytes() for part in parts)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Tables":
        """Read what `to_bytes` wrote.

        Raises:
            FormatError: when these are no tables.
        """
        if len(data) != _BYTES:
            raise FormatError(f"tables have {_BYTES} bytes, these {len(data)}")
        numbers = np.frombuffer(data, _SHORT).astype(np.int32)
        first = KINDS * len(PHASES) * FEATURES
        second = first + TABLES * SYMBOLS
        weights = numbers[:first].reshape(_WEIGHTS)
        symbols, flags = numbers[first:second].reshape(TABLES, SYMBOLS), numbers[second:]
        whole = (symbols >= 0).all() and (symbols.sum(1) == TOTAL).all()
        flagged = ((flags > 0) & (flags < TOTAL)).all()
        if not (whole and (symbols[:, ESCAPE] > 0).all() and flagged):
            raise FormatError("the tables hold frequencies that do not add up")
        return cls(weights, symbols, flags)

    @classmethod
    def unpack(cls, packed: bytes) -> "Tables":
        """Read what `packed` holds.

        Raises:
            FormatError: when it is no tables.
        """
        inflate = zlib.decompressobj()
        try:
            data = inflate.decompress(packed, _BYTES + 1)
        except zlib.error as error:
            raise FormatError(f"the tables cannot be inflated: {error}") from error
        if not inflate.eof or inflate.unused_data:
            raise FormatError(f"the tables are more or less than {_BYTES} bytes")
        return cls.from_bytes(data)

    @cached_property
    def packed(self) -> bytes:
        """`to_bytes`, deflated: what a file embeds."""
        return zlib.compress(self.to_bytes(), 9)

    @cached_property
    def digest(self) -> bytes:
        """Eight bytes that tell these tables from others."""
        return hashlib.sha256(self.to_bytes()).digest()[:8]


def expect(features: list[Feature], weights: Ints) -> Ints:
    """Return the magnitude that features let expect, in 1/UNIT, (A, h', w')."""
    total = np.zeros((1, 1, 1), np.int32)
    for feature, weight in zip(features, weights, strict=True):
        if feature is not None and weight:
            total = total + weight * feature
    return total
