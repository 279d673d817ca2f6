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
    pieces = _split_line(t, time_levels)
    out = []
    for time_level, high_t, where_t in pieces:
        for level, high_h, where_h, high_w, where_w in _split_plane(h, w, levels):
            where = (where_t, where_h, where_w)
            out.append(Band(level, time_level, (high_t, high_h, high_w), where))
    return [band for band in out if min(band.shape) > 0]


def _split_line(n: int, levels: int) -> list[tuple[int, bool, slice]]:
    """List the parts of a line, the coarsest first: level, whether high-pass, where."""
    sizes = lengths(n, levels)
    low = [(levels, False, slice(0, sizes[-1]))]
    return low + [
        (level, True, slice(sizes[level], sizes[level - 1])) for level in range(levels, 0, -1)
    ]


def _split_plane(h: int, w: int, levels: int) -> list[tuple[int, bool, slice, bool, slice]]:
    """List the subbands of a plane, the coarsest first."""
    rows, columns = lengths(h, levels), lengths(w, levels)
    out = [(levels, False, slice(0, rows[-1]), False, slice(0, columns[-1]))]
    for level in range(levels, 0, -1):
        low_h, low_w = rows[level], columns[level]
        parts_h = {False: slice(0, low_h), True: slice(low_h, rows[level - 1])}
        parts_w = {False: slice(0, low_w), True: slice(low_w, columns[level - 1])}
        for high_h, high_w in product((False, True), repeat=2):
            if high_h or high_w:
                out.append((level, high_h, parts_h[high_h], high_w, parts_w[high_w]))
    return out
