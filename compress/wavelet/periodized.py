"""One level of a wavelet transform along one dimension as a matrix."""

import warnings
from functools import lru_cache
from typing import get_args

import numpy as np
import pywt
import torch
from numpy.typing import NDArray
from torch import Tensor

from compress.wavelet import lifting
from compress.wavelet.lifting import Lifted

Matrix = NDArray[np.float64]
LIFTED = get_args(Lifted)


def check_wavelet(name: str) -> None:
    """Check the name of a wavelet.

    Raises:
        ValueError: for an unknown one.
    """
    if name not in LIFTED and name not in pywt.wavelist(kind="discrete"):
        families = ", ".join(pywt.families())
        raise ValueError(
            f"wavelet is {name!r}; allowed: {', '.join(LIFTED)}, and the discrete wavelets of "
            f"PyWavelets, such as db2, sym4 or bior4.4 (families: {families})"
        )


@lru_cache(maxsize=1024)
def analysis(wavelet: str, n: int) -> Matrix:
    """Build the analysis matrix (n, n) of a level on n samples, the low-pass rows first.

    Those of PyWavelets wrap around (its mode "periodization"), which is defined for even n: the
    last sample of an odd number of them goes to the low-pass half as it is, but for the scale
    that a constant gets.
    """
    unit = np.eye(n)
    if wavelet in LIFTED:
        lifted: Matrix = lifting.analyse(torch.from_numpy(unit), wavelet, 0).numpy()  # type: ignore[arg-type]
        return lifted
    if n == 1:
        return unit
    even, half = n - n % 2, n // 2
    with warnings.catch_warnings():  # of filters longer than the line, around which they wrap
        warnings.simplefilter("ignore", UserWarning)
        low, high = pywt.dwt(unit[:even, :even], wavelet, "periodization", axis=0)
    matrix = np.zeros((n, n))
    matrix[:half, :even], matrix[n - half :, :even] = low, high
    if n % 2:
        matrix[half, -1] = sum(pywt.Wavelet(wavelet).dec_lo)
    return matrix


@lru_cache(maxsize=1024)
def synthesis(wavelet: str, n: int) -> Matrix:
    """Build the synthesis matrix (n, n), the inverse of `analysis`.

    Inverted, for the reconstruction filters of some wavelets, such as dmey, are no exact ones.
    """
    if wavelet in LIFTED:
        unit = torch.eye(n, dtype=torch.float64)
        lifted: Matrix = lifting.synthesise(unit, wavelet, 0).numpy()  # type: ignore[arg-type]
        return lifted
    return np.asarray(np.linalg.inv(analysis(wavelet, n)), np.float64)


def apply_along(x: Tensor, matrix: Matrix, dim: int) -> Tensor:
    """Multiply a matrix (m, n) with x along a dimension of n entries."""
    weight = torch.from_numpy(matrix).to(x)
    if dim % x.ndim == x.ndim - 1:
        return x @ weight.T
    if dim % x.ndim == x.ndim - 2:
        return weight @ x
    return (weight @ x.transpose(dim, -2)).transpose(dim, -2)
