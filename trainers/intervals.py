"""Confidence intervals of rates, and how surprising a comparison of two is."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from scipy.special import stdtrit

Interval = tuple[float, float]
SURE = 1.959963984540054  # standard deviations on either side that hold 95 % of a normal variable


def wilson(successes: int, n: int) -> Interval:
    """Return the 95 % interval of a rate that was counted, by Wilson's score.

    Args:
        successes: how often it happened, from 0 to n.
        n: how often it could have.

    Returns:
        The lowest and the highest rate that the count leaves likely; (0, 1) where n is 0.

    Raises:
        ValueError: for a count that is none.

    Source: Wilson 1927.

    >>> [round(end, 3) for end in wilson(8, 10)]
    [0.49, 0.943]
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}; give a count from 0 to n")
    if n == 0:
        return 0.0, 1.0
    rate, weight = successes / n, SURE**2 / n
    middle = (rate + weight / 2) / (1 + weight)
    half = SURE * math.sqrt(rate * (1 - rate) / n + weight / (4 * n)) / (1 + weight)
    low = 0.0 if successes == 0 else middle - half  # exact at both ends, whatever is rounded
    return low, 1.0 if successes == n else middle + half


def mean_interval(values: Sequence[float]) -> Interval | None:
    """Return the 95 % interval of a mean, by Student's t; None of fewer than two.

    Args:
        values: independent, finite.

    >>> [round(end, 2) for end in mean_interval([1.0, 2.0, 3.0])]
    [-0.48, 4.48]
    """
    if len(values) < 2:
        return None
    wide = float(stdtrit(len(values) - 1, 0.975))
    mean, half = fmean(values), wide * stdev(values) / math.sqrt(len(values))
    return mean - half, mean + half


def sign_test(more: int, less: int) -> float:
    """Return the chance that one of two equals wins as often as `more`, losing `less` times.

    Args:
        more: samples that the one fooled and the other did not.
        less: the reverse; samples that both or neither fooled say nothing.

    Returns:
        P(X >= more) of X binomial with more + less trials at 1/2; 1 where there are none.

    Source: the sign test, Arbuthnot 1710; one-sided McNemar's test in its exact form.

    >>> sign_test(3, 0), sign_test(0, 0)
    (0.125, 1.0)
    """
    n = more + less
    at_least: int = sum(math.comb(n, k) for k in range(more, n + 1))
    return at_least / 2**n if n else 1.0
