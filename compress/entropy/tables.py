"""Fitted statistics, and the symbols that are coded with them.

Weights predict magnitudes, and a prediction has frequencies of symbols.
"""

import hashlib
import zlib
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from math import prod

import numpy as np
from numpy.typing import NDArray

from compress.entropy.coding_order import STATISTICS_CLASSES, TABLE_GROUPS, table_group
from compress.entropy.contexts import FEATURES, FLAG_CONTEXTS, PHASES, CodingUnit
from compress.entropy.rans import TOTAL, Batch, Frequencies, RansDecoder
from compress.entropy.symbols import ESCAPE, SYMBOLS, Ints
from compress.errors import FormatError

UNIT = 1024  # of a predicted magnitude
BINS = 28
# Edges between the bins of predicted magnitudes.
EDGES = np.round(np.geomspace(0.004, 24, BINS - 1) * UNIT).astype(np.int32)
_BIN_OF = np.searchsorted(EDGES, np.arange(EDGES[-1] + 1), side="right").astype(np.int32)
TABLES = TABLE_GROUPS * BINS
_SHAPES = (  # of weights, symbols and flags
    (STATISTICS_CLASSES, len(PHASES), FEATURES),
    (TABLES, SYMBOLS),
    (STATISTICS_CLASSES * FLAG_CONTEXTS,),
)
_ENDS = list(accumulate(map(prod, _SHAPES)))
_SHORT = np.dtype("<i2")
_BYTES = 2 * _ENDS[-1]


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
        weights = self.weights[unit.statistics_class, unit.phase]
        predicted = np.zeros((1, 1, 1), np.int32)  # magnitudes, in 1/UNIT, (A, h', w')
        for feature, weight in zip(unit.features, weights, strict=True):
            if feature is not None and weight:
                predicted = predicted + weight * feature
        bins = _BIN_OF[np.broadcast_to(predicted, unit.shape).ravel().clip(0, EDGES[-1])]
        return np.asarray(bins + BINS * table_group(unit.statistics_class))

    def to_bytes(self) -> bytes:
        """Serialise all numbers, little-endian."""
        parts = (self.weights, self.symbols, self.flags)
        return b"".join(part.astype(_SHORT).tobytes() for part in parts)

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
        if not inflate.eof or inflate.unused_data or len(data) != _BYTES:
            raise FormatError(f"the tables are more or less than {_BYTES} bytes")
        parts = np.split(np.frombuffer(data, _SHORT).astype(np.int32), _ENDS[:-1])
        weights, symbols, flags = map(np.reshape, parts, _SHAPES)
        whole = (symbols >= 0).all() and (symbols.sum(1) == TOTAL).all()
        flagged = ((flags > 0) & (flags < TOTAL)).all()
        if not (whole and (symbols[:, ESCAPE] > 0).all() and flagged):
            raise FormatError("the tables hold frequencies that do not add up")
        return cls(weights, symbols, flags)

    @cached_property
    def packed(self) -> bytes:
        """The bytes of `to_bytes`, deflated, as a file embeds them."""
        return zlib.compress(self.to_bytes(), 9)

    @cached_property
    def digest(self) -> bytes:
        """Eight bytes that tell these tables from others."""
        return hashlib.sha256(self.to_bytes()).digest()[:8]


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
