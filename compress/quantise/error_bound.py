"""How far a decoded value may be from the sample's: the largest error, derived.

A coefficient of the low-pass band is off by at most half of its unit, any other by at most one:
it becomes 0, or a whole number at most 0.58 units away (see `quantise`). The unit of a band is the
step over the band's gain. A value of the sample is a sum over coefficients, each times a value of
its basis function, so that the errors of a band add up to no more than its unit times the largest
sum, over places, of the functions' absolute values there. That sum is a product over time, height
and width. Bands add up, and so do the three colours that red, green or blue is mixed of.

Nothing here depends on what is coded. Errors of both signs mostly cancel: those seen are smaller.
"""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from scipy import sparse

from compress.checks import volume
from compress.file_format import Kind
from compress.quantise.quantise import gain
from compress.quantise.signals import MOST_MIXED
from compress.quantise.task_quantiser import TaskQuantiser
from compress.wavelet.bands import Band, bands
from compress.wavelet.lifting import STEPS
from compress.wavelet.transform import count_levels

BasisSums = Mapping[tuple[int, bool], float]  # by level and whether high-pass
# Of float32: a value is rounded some times a level, on the way there and back.
_ROUNDING = 2.0**-24
_ROUNDINGS = (16, 8)  # at all, and for each level of each dimension; seen was a tenth of it


def largest_error(
    shape: Sequence[int],
    step: float,
    *,
    wavelet: str,
    levels: int | None = None,
    time_levels: int | None = None,
    kind: Kind = "x",
    task: TaskQuantiser | None = None,
) -> float:
    """Bound the absolute error of a decoded value of a sample, or of a difference.

    Args:
        shape: of a sample, (C, H, W) or (C, T, H, W).
        step: of the quantiser.
        wavelet: of the transform.
        levels: see `dwt`.
        time_levels: see `dwt`.
        kind: of the samples; for "x-task" the optimiser may move each coefficient, too.
        task: its options.
    """
    levels, time_levels = count_levels(shape, levels, time_levels)
    c, t, h, w = volume(shape)
    moved = (task or TaskQuantiser()).max_shift if kind == "x-task" else 0.0
    sizes = ((t, time_levels), (h, levels), (w, levels))
    lines = [basis_sums(wavelet, n, count) for n, count in sizes]
    units = sum(
        ((0.5 if not any(band.high) else 1.0) + moved) * _band_bound(band, lines, wavelet)
        for band in bands(t, h, w, levels=levels, time_levels=time_levels)
    )
    mixed = MOST_MIXED if c == 3 else 1.0
    first, each = _ROUNDINGS
    rounded = _ROUNDING * (first + each * (2 * levels + time_levels))
    return min(mixed * step * units + rounded, 2.0 if kind == "delta" else 1.0)


def _band_bound(band: Band, lines: list[BasisSums], wavelet: str) -> float:
    """Bound the change of a value when all coefficients of a subband change by one unit."""
    levels = (band.time_level, band.level, band.level)
    along = zip(lines, levels, band.high, strict=True)
    return math.prod(line[level, high] / gain(wavelet, level, high) for line, level, high in along)


@lru_cache(maxsize=64)
def basis_sums(wavelet: str, n: int, levels: int) -> BasisSums:
    """Compute, for each part of a line, the largest sum of its absolute basis functions.

    >>> round(basis_sums("haar", 8, 2)[2, True], 6)
    0.5
    """
    out = {(0, False): 1.0}
    whole, low = sparse.identity(n, format="csr"), n  # columns: functions of the low-pass part
    for level in range(1, levels + 1):
        if low > 1:  # a line of one value is not split any more
            half = (low + 1) // 2
            both = whole @ _sparse_synthesis(wavelet, low)
            out[level, True] = _max_abs_row_sum(both[:, half:])
            whole, low = both[:, :half], half
        out[level, False] = _max_abs_row_sum(whole)
    return out


def _max_abs_row_sum(functions: sparse.csr_matrix) -> float:
    return float(abs(functions).sum(axis=1).max())


def _sparse_synthesis(wavelet: str, n: int) -> sparse.csr_matrix:
    """Build the sparse matrix (n, n) of `lifting.synthesise` on a line."""
    steps, half, count = STEPS[wavelet], (n + 1) // 2, n // 2
    both = sparse.identity(n, format="csr")
    even, odd = both[:half] / steps.low, both[half:] / steps.high  # rows: values of the line
    for number, weight in reversed(list(enumerate(steps.weights))):
        if number % 2 == 0:
            odd = odd - weight * _add_neighbours(
                even, range(count), range(1, count + 1), steps.both
            )
        elif steps.both:
            even = even - weight * _add_neighbours(odd, range(half), range(-1, half - 1), True)
        else:  # of an odd length, the last has no partner
            even = even - weight * sparse.vstack([odd, sparse.csr_matrix((half - count, n))])
    order = np.argsort([*range(0, n, 2), *range(1, n, 2)])
    return sparse.vstack([even, odd]).tocsr()[order]


def _add_neighbours(
    part: sparse.csr_matrix, near: range, far: range, both: bool
) -> sparse.csr_matrix:
    """Add the far rows to the near ones; beyond the ends stand the rows at the ends."""
    last = part.shape[0] - 1
    first, second = (part[np.clip(rows, 0, last)] for rows in (near, far))
    return first + second if both else first
