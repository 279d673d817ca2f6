"""The layout of subbands: in corners, each level within the low-pass subband before.

A sample (C, T, H, W) stays an array of its own shape. The low-pass half along a dimension is its
first ceil(n / 2) entries.
"""

from dataclasses import dataclass, field
from itertools import product

Slices = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Band:
    """A subband of all channels.

    Attributes:
        level: of the transform in space, 1 the finest; the low-pass band has the last.
        time_level: that in time; 0 without one.
        high: whether it is the high-pass half along (time, height, width).
        where: its places in (T, H, W).
    """

    level: int
    time_level: int
    high: tuple[bool, bool, bool]
    where: Slices = field(hash=False)  # slices have no hash before Python 3.12

    @property
    def shape(self) -> tuple[int, int, int]:
        """The size of the subband, (T, H, W)."""
        t, h, w = (s.stop - s.start for s in self.where)
        return t, h, w


def lengths(n: int, levels: int) -> list[int]:
    """List the lengths of the low-pass part before each level and after the last.

    >>> lengths(33, 3)
    [33, 17, 9, 5]
    """
    out = [n]
    for _ in range(levels):
        out.append((out[-1] + 1) // 2)
    return out


def bands(t: int, h: int, w: int, *, levels: int, time_levels: int) -> list[Band]:
    """List the non-empty subbands of a sample of size (T, H, W), the coarsest first."""
    times = [(time_levels, False), *((level, True) for level in range(time_levels, 0, -1))]
    planes = [(levels, False, False)]
    for level in range(levels, 0, -1):
        planes += [(level, False, True), (level, True, False), (level, True, True)]
    frames, rows, columns = lengths(t, time_levels), lengths(h, levels), lengths(w, levels)
    out = []
    for (time, high_t), (level, high_h, high_w) in product(times, planes):
        where = _cut(frames, time, high_t), _cut(rows, level, high_h), _cut(columns, level, high_w)
        out.append(Band(level, time, (high_t, high_h, high_w), where))
    return [band for band in out if min(band.shape) > 0]


def _cut(sizes: list[int], level: int, high: bool) -> slice:
    """Return where the low-pass or the high-pass half of a level is on a line."""
    return slice(sizes[level], sizes[level - 1]) if high else slice(0, sizes[level])
