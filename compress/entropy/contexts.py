"""The traversal of all coefficients that encoding, decoding and fitting share, with contexts.

A context is made of magnitudes of coded coefficients, from which the next ones are predicted. A
frame of a subband is coded in four phases, the positions of each phase two apart in height and
width. A phase is coded at once, from the phases, frames, channels and subbands coded before.
Everything is an integer.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from compress.entropy.coding_order import SubbandChannel, coding_order
from compress.entropy.symbols import CONTEXT_MAGNITUDE, Ints
from compress.wavelet.bands import Band

Small = NDArray[np.int16]
Rows = NDArray[np.int64] | slice
Feature = Small | None  # None where nothing has been coded
PHASES = ((0, 0), (1, 1), (0, 1), (1, 0))  # first row and column of each
FEATURES = 15
ONE = 16  # what is no magnitude is counted in sixteenths
CAP = 64  # of a magnitude, as a context
FINEST = 4096  # of the index of a step
FLAG_CONTEXTS = 4
_CONTEXT_MAGNITUDE = np.minimum(CONTEXT_MAGNITUDE, CAP).astype(np.int16)


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


def traverse(coder: Coder, symbols: Ints, bands: list[Band], step: float) -> None:
    """Visit all coefficients in coding order.

    Args:
        coder: called for each subband and each unit, in turn.
        symbols: of all samples, (B, C, T, H, W); the coder's results are written there.
        bands: the subbands, see `bands`.
        step: of the quantiser, a feature.
    """
    step_index = quantiser_index(step)
    coded_magnitudes = np.zeros(symbols.shape, np.int16)
    nonzero: dict[tuple[object, int], NDArray[np.bool_]] = {}
    nothing = np.zeros(len(symbols), np.bool_)
    for subband in coding_order(bands, symbols.shape[1]):
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
            _traverse_band(coder, subband, block, coded_magnitudes, rows, step_index)


def _traverse_band(
    coder: Coder,
    subband: SubbandChannel,
    block: Ints,
    coded_magnitudes: Small,
    rows: Rows,
    step_index: int,
) -> None:
    """Visit the coefficients of a subband, of the samples whose subband is not zero."""
    frames, h, w = subband.band.shape
    where_t, where_h, where_w = subband.band.where
    for frame in range(frames):
        static = static_features(coded_magnitudes, rows, subband, frame, step_index)
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


def quantiser_index(step: float) -> int:
    """Map a step to its context feature, a whole number that grows as the step gets finer.

    >>> quantiser_index(0.5)
    8
    """
    return max(1, min(round(4 / step), FINEST))


def static_features(
    coded_magnitudes: Small, rows: Rows, subband: SubbandChannel, frame: int, step_index: int
) -> list[Feature]:
    """List the features that stay the same while a frame of a subband is coded.

    Args:
        coded_magnitudes: at most CAP, 0 where not coded yet, (B, C, T, H, W).
        rows: the samples whose subband is not zero, (A,).
        subband: the subband of a channel.
        frame: the frame, within the subband.
        step_index: see `quantiser_index`; the same for all positions.

    Returns:
        The first 12 features, each (A, h, w) or of size 1 in some dimensions.
    """
    band, channel, (_, h, w) = subband.band, subband.channel, subband.band.shape

    def at(other: Band, channel: int, frame: int) -> Small:
        t, h, w = other.where
        return coded_magnitudes[rows, channel, t.start + frame, h, w]

    parent = at(subband.parent, channel, frame) if subband.parent else None
    slower = at(subband.slower, channel, frame // 2) if subband.slower else None
    above = None if parent is None else parent.repeat(2, axis=1).repeat(2, axis=2)
    siblings = [_crop_or_repeat(at(sibling, channel, frame), h, w) for sibling in subband.siblings]
    earlier = [at(band, c, frame) for c in range(channel)]
    previous = at(band, channel, frame - 1) if frame else None
    return [
        np.full((1, 1, 1), ONE, np.int16),
        np.full((1, 1, 1), step_index, np.int16),
        _mean_magnitude(parent if parent is not None else slower),
        *_centre_and_ring(None if above is None else _crop_or_repeat(above, h, w)),
        *_centre_and_ring(sum(siblings[1:], start=siblings[0]) if siblings else None),
        *_centre_and_ring(sum(earlier[1:], start=earlier[0]) if earlier else None),
        *_centre_and_ring(previous),
        slower,
    ]


def causal_features(frame_magnitudes: Small, phase: tuple[int, int]) -> list[Feature]:
    """List the features that come from the phases coded before, at each position of a phase.

    Args:
        frame_magnitudes: coded magnitudes of the frame, with a border of zeros, (A, h + 2, w + 2).
        phase: first row and column.

    Returns:
        The last 3 features: neighbours in the row, in the column, across, each (A, h', w').
    """
    (y, x), (h, w) = phase, (frame_magnitudes.shape[1] - 2, frame_magnitudes.shape[2] - 2)

    def beside(dy: int, dx: int) -> Small:
        return frame_magnitudes[:, 1 + y + dy : 1 + h + dy : 2, 1 + x + dx : 1 + w + dx : 2]

    if phase == (0, 0):
        return [None, None, None]
    across = beside(-1, -1) + beside(-1, 1) + beside(1, -1) + beside(1, 1)
    if phase == (1, 1):
        return [None, None, across]
    row, column = beside(0, -1) + beside(0, 1), beside(-1, 0) + beside(1, 0)
    return [row, column, across if phase == (1, 0) else None]


def _at_phase(feature: Feature, y: int, x: int) -> Feature:
    """Select the positions of a phase from a feature (A, h, w), or (A or 1, 1, 1) everywhere."""
    if feature is None or feature.shape[1:] == (1, 1):
        return feature
    return feature[:, y::2, x::2]


def _centre_and_ring(centre: Feature) -> Iterator[Feature]:
    """Yield magnitudes (A, h, w), and the sum of the eight neighbours of each position."""
    yield centre
    if centre is None:
        yield None
        return
    a, h, w = centre.shape
    rows = np.zeros((a, h, w + 2), np.int16)
    rows[:, :, 1:-1] = centre
    rows[:, 1:, 1:-1] += centre[:, :-1]
    rows[:, :-1, 1:-1] += centre[:, 1:]
    yield rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:] - centre


def _mean_magnitude(magnitudes: Feature) -> Feature:
    """Average the magnitudes of each sample, (A, 1, 1), in sixteenths."""
    if magnitudes is None:
        return None
    total: Ints = magnitudes.sum((1, 2), dtype=np.int32, keepdims=True)
    mean = ONE * total // (magnitudes.shape[1] * magnitudes.shape[2])
    return np.asarray(mean, np.int16)


def _crop_or_repeat(part: Small, h: int, w: int) -> Small:
    """Crop or repeat the last row and column: subbands of odd lengths differ by one."""
    part = part[:, :h, :w]
    short = ((0, 0), (0, h - part.shape[1]), (0, w - part.shape[2]))
    return np.pad(part, short, mode="edge") if any(s[1] for s in short) else part
