"""Rate control: the step of the quantiser that gives a wanted number of bytes."""

import math
from collections.abc import Callable

from compress.checks import STEP_RANGE, is_number

_TRIALS = 16
_SLOPES = (-3.0, -0.3)  # of log(size) over log(step)
_STRIDE = 1.5  # of log(step), at most


class OutOfReachError(ValueError):
    """No step gives so many bytes.

    Attributes:
        step: which gives the nearest number.
    """

    def __init__(self, wanted: float, got: float, step: float) -> None:
        """Compose the message from the wanted and the nearest number."""
        super().__init__(
            f"bytes_per_sample is {wanted:g}; the nearest that these samples can have is {got:.1f}"
        )
        self.step = step


def find_step(
    size: Callable[[float], float], wanted: float, *, start: float, close: float
) -> float:
    """Find a step with which samples take nearly so many bytes each, in few trials.

    The secant method in logarithms, within the steps known to be too small and too large.

    Args:
        size: bytes a sample with a step; each trial may be a long search.
        wanted: number of bytes a sample.
        start: a step to begin with.
        close: which logarithm of the ratio of sizes is near enough.

    Raises:
        OutOfReachError: for a number that no step gives to a tenth.
        ValueError: for anything but a number above 0.

    >>> round(find_step(lambda step: 20 / step, 50, start=1, close=1e-6), 6)
    0.4
    """
    if not is_number(wanted) or not wanted > 0:
        raise ValueError(f"bytes_per_sample is {wanted}; give a finite number above 0")
    low, high = STEP_RANGE
    step, slope = min(max(start, low), high), -1.0
    trials: list[tuple[float, float, float]] = []  # how far off, step, size
    while True:
        got = size(step)
        trials.append((math.log(got / wanted), step, got))
        off = trials[-1][0]
        low, high = (step, high) if off > 0 else (low, step)
        if abs(off) <= close or len(trials) == _TRIALS or high / low < 1 + 1e-6:
            break
        if len(trials) > 1:
            before, last, _ = trials[-2]
            slope = (off - before) / math.log(step / last)
            slope = min(max(slope, _SLOPES[0]), _SLOPES[1])
        ahead = step * math.exp(min(max(-off / slope, -_STRIDE), _STRIDE))
        step = ahead if low < ahead < high else math.sqrt(low * high)
    off, step, got = min(trials, key=lambda trial: abs(trial[0]))
    if not 0.9 < got / wanted < 1.1:
        raise OutOfReachError(wanted, got, step)
    return step
