"""One level of a wavelet transform along one dimension by lifting: any length, no more numbers.

A line of n samples becomes ceil(n / 2) low-pass and floor(n / 2) high-pass coefficients, and
these the line again, to rounding. Beyond its ends the line is mirrored. All is elementwise, so
that the result depends on no number of threads.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LiftingSteps:
    """Weights of a wavelet's lifting steps.

    Attributes:
        weights: of predictions (the odd samples from their even neighbours) and updates (the
            even ones from the odd), in turn. A prediction of Haar has the left neighbour alone.
        low: scale of the low-pass half, which makes the transform nearly orthonormal.
        high: that of the high-pass half; its sign is PyWavelets'.
        both: whether both neighbours count, or only the nearer.
    """

    weights: tuple[float, ...]
    low: float
    high: float
    both: bool = True


_K = 1.149604398860241
# haar: Sweldens 1996, section 3; cdf53 and cdf97: Daubechies & Sweldens 1998, section 7.
STEPS: dict[str, LiftingSteps] = {
    "haar": LiftingSteps((-1.0, 0.5), low=math.sqrt(2), high=-math.sqrt(0.5), both=False),
    "cdf53": LiftingSteps((-0.5, 0.25), low=math.sqrt(2), high=-math.sqrt(0.5)),
    "cdf97": LiftingSteps(
        (-1.586134342059924, -0.052980118572961, 0.882911075530934, 0.443506852043971),
        low=_K,
        high=-1 / _K,
    ),
}
WAVELETS = tuple(STEPS)


def analyse(x: Tensor, wavelet: str, dim: int) -> Tensor:
    """Split x along a dimension into its low-pass half, and after it its high-pass half, like x.

    >>> analyse(torch.tensor([1.0, 3.0, 3.0, 5.0]), "haar", 0)
    tensor([ 2.8284,  5.6569, -1.4142, -1.4142])
    """
    if x.shape[dim] == 1:
        return x
    steps = STEPS[wavelet]
    x = x.transpose(dim, -1)
    even, odd = x[..., 0::2], x[..., 1::2]  # (..., ceil(n/2)), (..., floor(n/2))
    for number, weight in enumerate(steps.weights):
        if number % 2 == 0:
            odd = odd + weight * _evens(even, odd.shape[-1], both=steps.both)
        else:
            even = even + weight * _odds(odd, even.shape[-1], both=steps.both)
    return torch.cat([even * steps.low, odd * steps.high], -1).transpose(dim, -1)


def synthesise(c: Tensor, wavelet: str, dim: int) -> Tensor:
    """Merge the halves along a dimension, like c; inverts `analyse`."""
    n = c.shape[dim]
    if n == 1:
        return c
    steps = STEPS[wavelet]
    c = c.transpose(dim, -1)
    half = (n + 1) // 2
    even, odd = c[..., :half] / steps.low, c[..., half:] / steps.high
    for number, weight in reversed(list(enumerate(steps.weights))):
        if number % 2 == 0:
            odd = odd - weight * _evens(even, odd.shape[-1], both=steps.both)
        else:
            even = even - weight * _odds(odd, even.shape[-1], both=steps.both)
    x = torch.stack([even[..., : n // 2], odd], -1).flatten(-2)  # (..., n or n - 1)
    return torch.cat([x, even[..., n // 2 :]], -1).transpose(dim, -1)  # (..., n)


def _evens(even: Tensor, count: int, *, both: bool) -> Tensor:
    """Sum the even neighbours of each odd sample (of Haar, the left one)."""
    left = even[..., :count]
    if not both:
        return left
    right = even[..., 1 : count + 1]
    if right.shape[-1] < count:  # after the last odd sample of an even length there is none
        right = torch.cat([right, even[..., -1:]], -1)
    return left + right


def _odds(odd: Tensor, count: int, *, both: bool) -> Tensor:
    """Sum the odd neighbours of each even sample (of Haar, the right one)."""
    right = odd[..., :count]
    if not both:
        # The last even sample of an odd length has no partner and stays.
        return torch.nn.functional.pad(right, (0, count - right.shape[-1]))
    left = torch.cat([odd[..., :1], odd[..., : count - 1]], -1)
    if right.shape[-1] < count:
        right = torch.cat([right, odd[..., -1:]], -1)
    return left + right
