"""The traversal of all coefficients that encoding, decoding and fitting share."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from compress.entropy.coding_order import SubbandChannel
from compress.entropy.contexts import (
    CAP,
    PHASES,
    Feature,
    Ints,
    Rows,
    Small,
    causal_features,
    static_features,
)
from compress.entropy.symbols import CONTEXT_MAGNITUDE

_CONTEXT_MAGNITUDE = np.minimum(CONTEXT_MAGNITUDE, CAP).astype(np.int16)
FLAG_CONTEXTS = 4


@dataclass(frozen=True)
class CodingUnit:
    """The positions coded at once: a phase of a frame of a subband of a channel.

    Attributes:
        statistics_class: which statistics it shares.
        phase: which of PHASES.
        features: context of each position, broadcast to the shape (A, h', w').
        shape: that shape.
    """

    statistics_class: int
    phase: int
    features: list[Feature]
    shape: tuple[int, int, int]


class Coder(Protocol):
    """An encoder, a decoder or a collector of symbols."""

    def flags(self, contexts: Ints, block: Ints) -> NDArray[np.bool_]:
        """Code which samples have a nonzero subband; contexts (B,), symbols (B, t, h, w)."""

    def symbols(self, unit: CodingUnit, part: Ints) -> Ints:
        """Code the symbols of a unit, (A, h', w'); `part` holds them except when decoding."""


def traverse(
    coder: Coder, symbols: Ints, order: list[SubbandChannel], *, quantiser_index: int
) -> None:
    """Visit all coefficients in coding order.

    Args:
        coder: called for each subband and each unit, in turn.
        symbols: of all samples, (B, C, T, H, W); the coder's results are written there.
        order: the subbands of all channels, see `coding_order`.
        quantiser_index: of the step, a feature.
    """
    coded_magnitudes = np.zeros(symbols.shape, np.int16)
    nonzero: dict[tuple[object, int], NDArray[np.bool_]] = {}
    nothing = np.zeros(len(symbols), np.bool_)
    for subband in order:
        t, h, w = subband.band.where
        block = symbols[:, subband.channel, t, h, w]  # a view, (B, t, h, w)
        above = nonzero.get((subband.parent or subband.slower, subband.channel), nothing)
        beside = nonzero.get((subband.band, subband.channel - 1), nothing)
        for sibling in subband.siblings:
            beside = beside | nonzero[sibling, subband.channel]
        contexts = subband.statistics_class * FLAG_CONTEXTS + 2 * above.astype(np.int32) + beside
        flags = coder.flags(contexts.astype(np.int32), block)
        nonzero[subband.band, subband.channel] = flags
        if flags.any():
            rows = slice(None) if flags.all() else np.flatnonzero(flags)
            _traverse_band(coder, subband, block, coded_magnitudes, rows, quantiser_index)


def _at_phase(feature: Feature, y: int, x: int) -> Feature:
    """Select the positions of a phase from a feature (A, h, w), or (A or 1, 1, 1) everywhere."""
    if feature is None or feature.shape[1:] == (1, 1):
        return feature
    return feature[:, y::2, x::2]


def _traverse_band(
    coder: Coder,
    subband: SubbandChannel,
    block: Ints,
    coded_magnitudes: Small,
    rows: Rows,
    quantiser_index: int,
) -> None:
    """Visit the coefficients of a subband, of the samples whose subband is not zero."""
    frames, h, w = subband.band.shape
    where_t, where_h, where_w = subband.band.where
    for frame in range(frames):
        static = static_features(coded_magnitudes, rows, subband, frame, quantiser_index)
        frame_magnitudes = np.zeros((len(block[rows]), h + 2, w + 2), np.int16)
        for phase, (y, x) in enumerate(PHASES):
            part = block[rows, frame, y::2, x::2]  # (A, h', w')
            if not part.size:
                continue
            causal = causal_features(frame_magnitudes, (y, x))
            features = [_at_phase(f, y, x) for f in static] + causal
            unit = CodingUnit(subband.statistics_class, phase, features, part.shape)
            part = coder.symbols(unit, part)
            block[rows, frame, y::2, x::2] = part
            frame_magnitudes[:, 1 + y : 1 + h : 2, 1 + x : 1 + w : 2] = _CONTEXT_MAGNITUDE[part]
        coded_magnitudes[rows, subband.channel, where_t.start + frame, where_h, where_w] = (
            frame_magnitudes[:, 1:-1, 1:-1]
        )
