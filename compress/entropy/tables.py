"""Fitted statistics: weights that predict magnitudes, and symbol frequencies given a prediction."""

import hashlib
import zlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from compress.entropy.coding_order import STATISTICS_CLASSES, TABLE_GROUPS, table_group
from compress.entropy.contexts import FEATURES, PHASES, Feature, Ints
from compress.entropy.rans import TOTAL, Frequencies
from compress.entropy.symbols import ESCAPE, SYMBOLS
from compress.entropy.traversal import FLAG_CONTEXTS, CodingUnit
from compress.errors import FormatError

UNIT = 1024  # of a predicted magnitude
BINS = 28
# Edges between the bins of predicted magnitudes.
EDGES = np.round(np.geomspace(0.004, 24, BINS - 1) * UNIT).astype(np.int32)
_BIN_OF = np.searchsorted(EDGES, np.arange(EDGES[-1] + 1), side="right").astype(np.int32)
TABLES = TABLE_GROUPS * BINS
_WEIGHTS = (STATISTICS_CLASSES, len(PHASES), FEATURES)
_SHORT = np.dtype("<i2")
_BYTES = 2 * (
    STATISTICS_CLASSES * len(PHASES) * FEATURES
    + TABLES * SYMBOLS
    + STATISTICS_CLASSES * FLAG_CONTEXTS
)


@dataclass(frozen=True)
class Tables:
    """The statistics of a codec, 16-bit integers.

    Attributes:
        weights: of the features, in 1/UNIT, (STATISTICS_CLASSES, phases, FEATURES).
        symbols: frequencies of the symbols in each bin, (TABLES, SYMBOLS), each row adding up
            to TOTAL.
        flags: frequencies of empty bands, in [1, TOTAL), (STATISTICS_CLASSES * FLAG_CONTEXTS,).
    """

    weights: Ints
    symbols: Ints
    flags: Ints

    @cached_property
    def symbol_frequencies(self) -> Frequencies:
        """The frequencies of the symbols, prepared for coding."""
        return Frequencies(self.symbols)

    @cached_property
    def flag_frequencies(self) -> Frequencies:
        """The frequencies of the flags, prepared for coding."""
        return Frequencies(np.stack([self.flags, TOTAL - self.flags], 1))

    def select_tables(self, unit: CodingUnit) -> Ints:
        """Select the table of each position of a unit, (A * h' * w',)."""
        group, weights = unit.statistics_class, self.weights[unit.statistics_class, unit.phase]
        predicted = np.broadcast_to(predict_magnitude(unit.features, weights), unit.shape).ravel()
        return np.asarray(_BIN_OF[predicted.clip(0, EDGES[-1])] + BINS * table_group(group))

    def to_bytes(self) -> bytes:
        """Serialise all numbers, little-endian."""
        parts = (self.weights, self.symbols, self.flags)
        return b"".join(part.astype(_SHORT).tobytes() for part in parts)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Tables":
        """Parse the bytes of `to_bytes`.

        Raises:
            FormatError: for bytes that hold no tables.
        """
        if len(data) != _BYTES:
            raise FormatError(f"tables have {_BYTES} bytes, these {len(data)}")
        numbers = np.frombuffer(data, _SHORT).astype(np.int32)
        first = STATISTICS_CLASSES * len(PHASES) * FEATURES
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
        """Inflate and parse the bytes of `packed`.

        Raises:
            FormatError: for bytes that hold no tables.
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
        """The bytes of `to_bytes`, deflated, as a file embeds them."""
        return zlib.compress(self.to_bytes(), 9)

    @cached_property
    def digest(self) -> bytes:
        """Eight bytes that tell these tables from others."""
        return hashlib.sha256(self.to_bytes()).digest()[:8]


def predict_magnitude(features: list[Feature], weights: Ints) -> Ints:
    """Predict each coefficient's magnitude from its features, in 1/UNIT, (A, h', w')."""
    total = np.zeros((1, 1, 1), np.int32)
    for feature, weight in zip(features, weights, strict=True):
        if feature is not None and weight:
            total = total + weight * feature
    return total
