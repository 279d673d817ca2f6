"""Context features: magnitudes of coded coefficients, from which the next ones are predicted.

A frame of a subband is coded in four phases, the positions of each phase two apart in height and
width. A phase is coded at once, from the phases, frames, channels and subbands coded before.
Everything is an integer.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from compress.entropy.coding_order import SubbandChannel
from compress.wavelet.bands import Band

Ints = NDArray[np.int32]
Small = NDArray[np.int16]
Rows = NDArray[np.int64] | slice
Feature = Small | None  # None where nothing has been coded
PHASES = ((0, 0), (1, 1), (0, 1), (1, 0))  # first row and column of each
FEATURES = 15
ONE = 16  # what is no magnitude is counted in sixteenths
CAP = 64  # of a magnitude, as a context


def static_features(
    coded_magnitudes: Small, rows: Rows, subband: SubbandChannel, frame: int, quantiser_index: int
) -> list[Feature]:
    """List the features that stay the same while a frame of a subband is coded.

    Args:
        coded_magnitudes: at most CAP, 0 where not coded yet, (B, C, T, H, W).
        rows: the samples whose subband is not zero, (A,).
        subband: the subband of a channel.
        frame: the frame, within the subband.
        quantiser_index: of the step; the same for all positions.

    Returns:
        The first 12 features, each (A, h, w) or of size 1 in some dimensions.
    """
    band, channel, (_, h, w) = subband.band, subband.channel, subband.band.shape

    def at(other: Band | None, channel: int, frame: int) -> Feature:
        if other is None:
            return None
        t, h, w = other.where
        return coded_magnitudes[rows, channel, t.start + frame, h, w]

    parent, slower = at(subband.parent, channel, frame), at(subband.slower, channel, frame // 2)
    siblings = [_crop_or_repeat(at(sibling, channel, frame), h, w) for sibling in subband.siblings]
    earlier = [at(band, c, frame) for c in range(channel)]
    previous = at(band, channel, frame - 1) if frame else None
    return [
        np.full((1, 1, 1), ONE, np.int16),
        np.full((1, 1, 1), quantiser_index, np.int16),
        _mean_magnitude(parent if parent is not None else slower),
        *_centre_and_ring(_upsample_parent(parent, h, w)),
        *_centre_and_ring(_add_features(siblings)),
        *_centre_and_ring(_add_features(earlier)),
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


def _upsample_parent(parent: Feature, h: int, w: int) -> Feature:
    """Repeat the magnitudes of the next coarser level to the size h x w of a subband."""
    if parent is None:
        return None
    return _crop_or_repeat(parent.repeat(2, axis=1).repeat(2, axis=2), h, w)


def _crop_or_repeat(part: Feature, h: int, w: int) -> Feature:
    """Crop or repeat the last row and column: subbands of odd lengths differ by one."""
    if part is None:
        return None
    part = part[:, :h, :w]
    short = ((0, 0), (0, h - part.shape[1]), (0, w - part.shape[2]))
    return np.pad(part, short, mode="edge") if any(s[1] for s in short) else part


def _add_features(parts: list[Feature]) -> Feature:
    given = [part for part in parts if part is not None]
    return sum(given[1:], start=given[0]) if given else None
