"""One level of a wavelet transform along one dimension as a matrix."""

import warnings
from functools import lru_cache
from typing import get_args

import numpy as np
import pywt
import torch
from numpy.typing import NDArray
from torch import Tensor

from compress.lifting import Lifted, analyse, synthesise

Matrix = NDArray[np.float64]
LIFTED = get_args(Lifted)


def check_wavelet(name: str) -> None:
    """Refuse the name of no wavelet.

    Raises:
        ValueError: with what is allowed.
    """
    if name not in LIFTED and name not in pywt.wavelist(kind="discrete"):
        families = ", ".join(pywt.families())
        raise ValueError(
            f"wavelet is {name!r}; allowed: {', '.join(LIFTED)}, and the discrete wavelets of "
            f"PyWavelets, such as db2, sym4 or bior4.4 (families: {families})"
        )


@lru_cache(maxsize=1024)
def analysis(wavelet: str, n: int) -> Matrix:
    """Return the matrix (n, n) of a level on n samples, the low-pass rows first.

    Those of PyWavelets wrap around (its mode "periodization"), which is defined for even n: the
    last sample of an odd number of them goes to the low-pass half as it is, but for the scale
    that a constant gets.
    """
    return _matrix(wavelet, n, inverse=False)


@lru_cache(maxsize=1024)
def synthesis(wavelet: str, n: int) -> Matrix:
    """Return the inverse of `analysis`, (n, n)."""
    return _matrix(wavelet, n, inverse=True)


def _matrix(wavelet: str, n: int, *, inverse: bool) -> Matrix:
    unit = np.eye(n)
    if wavelet in LIFTED:
        columns = torch.from_numpy(unit)
        step = synthesise if inverse else analyse
        lifted: Matrix = step(columns, wavelet, 0).numpy()  # type: ignore[arg-type]
        return lifted
    if n % 2 == 0:
        return _wrapped(wavelet, n, inverse=inverse)
    whole, half = np.zeros((n, n)), n // 2
    # low-pass rows, the last sample, high-pass rows
    places = [*range(half), *range(half + 1, n)]
    scale = float(np.sum(pywt.Wavelet(wavelet).dec_lo)) if n > 1 else 1.0
    whole[(half, n - 1) if not inverse else (n - 1, half)] = 1 / scale if inverse else scale
    if n > 1:
        part = _wrapped(wavelet, n - 1, inverse=inverse)
        rows, columns_ = (list(range(n - 1)), places) if inverse else (places, list(range(n - 1)))
        whole[np.ix_(rows, columns_)] = part
    return whole


def _wrapped(wavelet: str, n: int, *, inverse: bool) -> Matrix:
    unit = np.eye(n)
    with warnings.catch_warnings():  # of filters longer than the line, around which they wrap
        warnings.simplefilter("ignore", UserWarning)
        if not inverse:
            return np.concatenate(pywt.dwt(unit, wavelet, "periodization", axis=0))
        low, high = unit[: n // 2], unit[n // 2 :]
        back: Matrix = pywt.idwt(low, high, wavelet, "periodization", axis=0)
        return back


def along(x: Tensor, matrix: Matrix, dim: int) -> Tensor:
    """Return x with a matrix (m, n) applied along a dimension of n entries."""
    weight = torch.from_numpy(matrix).to(x)
    if dim % x.ndim == x.ndim - 1:
        return x @ weight.T
    if dim % x.ndim == x.ndim - 2:
        return weight @ x
    return (weight @ x.transpose(dim, -2)).transpose(dim, -2)
