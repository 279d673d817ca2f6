"""What is known about a coefficient before it is decoded: magnitudes near it, in other places.

A frame of a band is coded in four phases, the places of each phase two apart in height and
width. All of a phase are coded at once, from what phases, frames, channels and bands before have
shown. Everything is an integer.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from compress.entropy.places import Place
from compress.wavelet.bands import Band

Ints = NDArray[np.int32]
Small = NDArray[np.int16]
Rows = NDArray[np.int64] | slice
Feature = Small | None  # None where there is nothing to know
PHASES = ((0, 0), (1, 1), (0, 1), (1, 0))  # first row and column of each
FEATURES = 15
ONE = 16  # what is no magnitude is counted in sixteenths
CAP = 64  # of a magnitude, as a context


def steady(seen: Small, rows: Rows, place: Place, frame: int, fineness: int) -> list[Feature]:
    """Return what does not change while a frame of a band is coded.

    Args:
        seen: magnitudes known so far, at most CAP, 0 where not known, (B, C, T, H, W).
        rows: the samples looked at, (A,).
        place: band and channel.
        frame: the frame, within the band.
        fineness: of the quantiser; the same for all.

    Returns:
        The first 12 features, each (A, h, w) or of size 1 in some dimensions.
    """
    band, channel, (_, h, w) = place.band, place.channel, place.band.shape

    def at(other: Band | None, channel: int, frame: int) -> Feature:
        if other is None:
            return None
        t, h, w = other.where
        return seen[rows, channel, t.start + frame, h, w]

    parent, slower = at(place.parent, channel, frame), at(place.slower, channel, frame // 2)
    siblings = [_fitted(at(sibling, channel, frame), h, w) for sibling in place.siblings]
    earlier = [at(band, c, frame) for c in range(channel)]
    previous = at(band, channel, frame - 1) if frame else None
    return [
        np.full((1, 1, 1), ONE, np.int16),
        np.full((1, 1, 1), fineness, np.int16),
        _mean(parent if parent is not None else slower),
        *_both(_doubled(parent, h, w)),
        *_both(_sum(siblings)),
        *_both(_sum(earlier)),
        *_both(previous),
        slower,
    ]


def moving(inside: Small, phase: tuple[int, int]) -> list[Feature]:
    """Return what the phases before have shown beside each place of a phase.

    Args:
        inside: magnitudes of the frame known so far, with a border of zeros, (A, h + 2, w + 2).
        phase: first row and column.

    Returns:
        The last 3 features: neighbours in the row, in the column, across, each (A, h', w').
    """
    (y, x), (h, w) = phase, (inside.shape[1] - 2, inside.shape[2] - 2)

    def beside(dy: int, dx: int) -> Small:
        return inside[:, 1 + y + dy : 1 + h + dy : 2, 1 + x + dx : 1 + w + dx : 2]

    if phase == (0, 0):
        return [None, None, None]
    across = beside(-1, -1) + beside(-1, 1) + beside(1, -1) + beside(1, 1)
    if phase == (1, 1):
        return [None, None, across]
    row, column = beside(0, -1) + beside(0, 1), beside(-1, 0) + beside(1, 0)
    return [row, column, across if phase == (1, 0) else None]


def _both(centre: Feature) -> Iterator[Feature]:
    """Yield magnitudes (A, h, w), and of each place the sum of the eight around it."""
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


def _mean(magnitudes: Feature) -> Feature:
    """Return the mean of each sample, (A, 1, 1), in sixteenths."""
    if magnitudes is None:
        return None
    total: Ints = magnitudes.sum((1, 2), dtype=np.int32, keepdims=True)
    mean = ONE * total // (magnitudes.shape[1] * magnitudes.shape[2])
    return np.asarray(mean, np.int16)


def _doubled(parent: Feature, h: int, w: int) -> Feature:
    """Return what stands above each place of a band of h x w in the band one level coarser."""
    if parent is None:
        return None
    return _fitted(parent.repeat(2, axis=1).repeat(2, axis=2), h, w)


def _fitted(part: Feature, h: int, w: int) -> Feature:
    """Cut off or repeat the last row and column: bands of odd lengths differ by one."""
    if part is None:
        return None
    part = part[:, :h, :w]
    short = ((0, 0), (0, h - part.shape[1]), (0, w - part.shape[2]))
    return np.pad(part, short, mode="edge") if any(s[1] for s in short) else part


def _sum(parts: list[Feature]) -> Feature:
    given = [part for part in parts if part is not None]
    return sum(given[1:], start=given[0]) if given else None
