"""The discrete wavelet transform of images and videos: batched, differentiable, not expansive."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
import pywt
import torch
from numpy.typing import NDArray
from torch import Tensor

from compress.checks import check_tensor
from compress.wavelet import lifting
from compress.wavelet.bands import Band, bands, lengths
from compress.wavelet.lifting import WAVELETS

Matrix = NDArray[np.float64]
# Up to this length a level is quicker as one matrix than by lifting.
_DENSE = 128


@dataclass(frozen=True)
class Coefficients:
    """Wavelet coefficients of a batch, as many as it has samples.

    Attributes:
        values: in the shape of the samples, (B, C, H, W) or (B, C, T, H, W), its bands
            in corners; see `bands`.
        wavelet: the wavelet.
        levels: of the transform in height and width.
        time_levels: of that in time; 0 of images.
    """

    values: Tensor
    wavelet: str
    levels: int
    time_levels: int = 0

    @property
    def flat(self) -> Tensor:
        """All coefficients of each sample in a row, (B, C*T*H*W)."""
        return self.values.flatten(1)

    @cached_property
    def bands(self) -> list[Band]:
        """The subbands, the coarsest first."""
        t, h, w = (1, *self.values.shape[2:])[-3:]
        return bands(t, h, w, levels=self.levels, time_levels=self.time_levels)

    @property
    def volumes(self) -> Tensor:
        """The values, of images too with a dimension of time, (B, C, T, H, W)."""
        return self.values if self.values.ndim == 5 else self.values.unsqueeze(2)

    def band(self, band: Band) -> Tensor:
        """Return the values of a band, (B, C, T, H, W); writing to them changes `values`."""
        return self.volumes[(..., *band.where)]

    def with_values(self, values: Tensor) -> "Coefficients":
        """Return coefficients of the same transform; values: (B, ...) or (B, C*T*H*W)."""
        return replace(self, values=values.reshape(-1, *self.values.shape[1:]))


def dwt(
    x: Tensor,
    *,
    wavelet: str = "cdf97",
    levels: int | None = None,
    time_levels: int | None = None,
    lifted: bool | None = None,
) -> Coefficients:
    """Transform images (B, C, H, W) or videos (B, C, T, H, W).

    Each level splits the low-pass band of the one before into four, along height and width. Of
    videos, first the frames are split along time, as often as `time_levels` says. The transforms
    are nearly orthonormal (those of orthogonal wavelets exactly, on even lengths), and as large
    as the samples, whatever their size.

    Args:
        x: any floating dtype, any device.
        wavelet: "haar", "cdf53" or "cdf97", which mirror x at its borders, or a discrete wavelet
            of PyWavelets, such as "db2" or "bior4.4", which wraps around.
        levels: None takes as many as halve the shorter side to one.
        time_levels: likewise in time; None takes `levels`, or fewer for a short video.
        lifted: whether to use lifting steps or matrices, which are quicker on short lines; None
            chooses. PyWavelets' wavelets have no lifting steps here.

    Returns:
        The coefficients; `idwt` gives x back, to rounding.

    Raises:
        ValueError: for anything but images or videos, or an unknown wavelet.

    >>> import torch
    >>> c = dwt(torch.ones(1, 1, 4, 4), wavelet="haar", levels=2)
    >>> round(c.flat[0, 0].item(), 3)
    4.0

    Source: Mallat 1989; lifting: Sweldens 1996, Daubechies & Sweldens 1998.
    """
    check_wavelet(wavelet)
    x = check_tensor("x", x)
    levels, time_levels = count_levels(x.shape[1:], levels, time_levels)
    frames = x.shape[2] if x.ndim == 5 else 1
    y, dense = x.clone(), _longest_dense(wavelet, lifted)
    for n in lengths(frames, time_levels)[:-1]:
        y[:, :, :n] = _split(y[:, :, :n], wavelet, 2, dense)
    rows, columns = (lengths(n, levels) for n in y.shape[-2:])
    for h, w in list(zip(rows, columns, strict=True))[:-1]:
        y[..., :h, :w] = _split(_split(y[..., :h, :w], wavelet, -2, dense), wavelet, -1, dense)
    return Coefficients(y, wavelet, levels, time_levels)


def idwt(c: Coefficients, *, lifted: bool | None = None) -> Tensor:
    """Invert `dwt`.

    Args:
        c: coefficients.
        lifted: whether to use lifting steps or matrices; None chooses, as of `dwt`.

    Returns:
        Samples shaped like `c.values`.
    """
    y, wavelet, dense = c.values.clone(), c.wavelet, _longest_dense(c.wavelet, lifted)
    rows, columns = (lengths(n, c.levels) for n in y.shape[-2:])
    for h, w in list(zip(rows, columns, strict=True))[-2::-1]:
        y[..., :h, :w] = _merge(_merge(y[..., :h, :w], wavelet, -1, dense), wavelet, -2, dense)
    if c.time_levels:
        for n in lengths(y.shape[2], c.time_levels)[-2::-1]:
            y[:, :, :n] = _merge(y[:, :, :n], wavelet, 2, dense)
    return y


def count_levels(
    shape: Sequence[int], levels: int | None, time_levels: int | None
) -> tuple[int, int]:
    """Count the levels of `dwt` on samples (C, H, W) or (C, T, H, W), in space and time.

    Raises:
        ValueError: for impossible levels.
    """
    levels = _check_levels("levels", levels, min(shape[-2:]))
    frames = shape[1] if len(shape) == 4 else 1
    if time_levels is None:
        time_levels = min(levels, (frames - 1).bit_length())
    time_levels = _check_levels("time_levels", time_levels, frames)
    if len(shape) == 3 and time_levels:
        raise ValueError(f"time_levels is {time_levels}; images have no time, give 0 or None")
    return levels, time_levels


def check_wavelet(name: str) -> None:
    """Check the name of a wavelet.

    Raises:
        ValueError: for an unknown one.
    """
    if name not in WAVELETS and name not in pywt.wavelist(kind="discrete"):
        families = ", ".join(pywt.families())
        raise ValueError(
            f"wavelet is {name!r}; allowed: {', '.join(WAVELETS)}, and the discrete wavelets of "
            f"PyWavelets, such as db2, sym4 or bior4.4 (families: {families})"
        )


def _longest_dense(wavelet: str, lifted: bool | None) -> float:
    """Return the length up to which a line is multiplied with a matrix; longer ones are lifted."""
    if lifted and wavelet not in WAVELETS:
        raise ValueError(f"lifted=True, wavelet={wavelet!r}; lifting steps: {', '.join(WAVELETS)}")
    if lifted is None:
        return _DENSE if wavelet in WAVELETS else math.inf
    return 0 if lifted else math.inf


def _split(x: Tensor, wavelet: str, dim: int, dense: float) -> Tensor:
    """Split one level along a dimension into its low-pass and its high-pass half."""
    n = x.shape[dim]
    if n > dense:
        return lifting.analyse(x, wavelet, dim)
    return _apply_along(x, analysis(wavelet, n), dim)


def _merge(y: Tensor, wavelet: str, dim: int, dense: float) -> Tensor:
    """Merge the halves of one level along a dimension."""
    n = y.shape[dim]
    if n > dense:
        return lifting.synthesise(y, wavelet, dim)
    return _apply_along(y, synthesis(wavelet, n), dim)


@lru_cache(maxsize=1024)
def analysis(wavelet: str, n: int) -> Matrix:
    """Build the analysis matrix (n, n) of a level on n samples, the low-pass rows first.

    Those of PyWavelets wrap around (its mode "periodization"), which is defined for even n: the
    last sample of an odd number of them goes to the low-pass half as it is, but for the scale
    that a constant gets.
    """
    unit = np.eye(n)
    if wavelet in WAVELETS:
        lifted: Matrix = lifting.analyse(torch.from_numpy(unit), wavelet, 0).numpy()
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
    if wavelet in WAVELETS:
        unit = torch.eye(n, dtype=torch.float64)
        lifted: Matrix = lifting.synthesise(unit, wavelet, 0).numpy()
        return lifted
    return np.asarray(np.linalg.inv(analysis(wavelet, n)), np.float64)


def _apply_along(x: Tensor, matrix: Matrix, dim: int) -> Tensor:
    """Multiply a matrix (m, n) with x along a dimension of n entries."""
    weight = torch.from_numpy(matrix).to(x)
    if dim % x.ndim == x.ndim - 1:
        return x @ weight.T
    return (weight @ x.transpose(dim, -2)).transpose(dim, -2)


def _check_levels(name: str, levels: int | None, n: int) -> int:
    """Check a number of levels, or choose one for n samples."""
    if levels is None:
        return (n - 1).bit_length()
    if not 0 <= levels <= 32:
        raise ValueError(f"{name} is {levels}; give 0 to 32, or None for as many as there are")
    return levels
