"""The discrete wavelet transform of images and videos: batched, differentiable, not expansive."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from torch import Tensor

from compress.checks import check_tensor
from compress.wavelet import lifting
from compress.wavelet.bands import Band, bands, lengths
from compress.wavelet.periodized import (
    LIFTED,
    Matrix,
    analysis,
    apply_along,
    check_wavelet,
    synthesis,
)

__all__ = ["Coefficients", "check_wavelet", "dwt", "idwt"]

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

    def band(self, band: Band) -> Tensor:
        """Return the values of a band, (B, C, T, H, W); writing to them changes `values`."""
        values = self.values if self.values.ndim == 5 else self.values.unsqueeze(2)
        return values[(..., *band.where)]

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
    line = _Line(wavelet, lifted)
    y = x.clone()
    for n in lengths(frames, time_levels)[:-1]:
        y[:, :, :n] = line.forward(y[:, :, :n], 2)
    sizes = zip(lengths(x.shape[-2], levels), lengths(x.shape[-1], levels), strict=True)
    for h, w in list(sizes)[:-1]:
        y[..., :h, :w] = line.forward(line.forward(y[..., :h, :w], -2), -1)
    return Coefficients(y, wavelet, levels, time_levels)


def idwt(c: Coefficients, *, lifted: bool | None = None) -> Tensor:
    """Invert `dwt`: samples shaped like `c.values`; `lifted`: see `dwt`."""
    y, line = c.values.clone(), _Line(c.wavelet, lifted)
    rows, columns = (lengths(n, c.levels) for n in y.shape[-2:])
    for h, w in list(zip(rows, columns, strict=True))[-2::-1]:
        y[..., :h, :w] = line.backward(line.backward(y[..., :h, :w], -1), -2)
    if c.time_levels:
        for n in lengths(y.shape[2], c.time_levels)[-2::-1]:
            y[:, :, :n] = line.backward(y[:, :, :n], 2)
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


@dataclass(frozen=True)
class _Line:
    """One level along one dimension."""

    wavelet: str
    lifted: bool | None

    def __post_init__(self) -> None:
        if self.lifted and self.wavelet not in LIFTED:
            raise ValueError(
                f"lifted=True, wavelet={self.wavelet!r}; lifting steps: {', '.join(LIFTED)}"
            )

    def forward(self, x: Tensor, dim: int) -> Tensor:
        if self._is_lifted(x.shape[dim]):
            return lifting.analyse(x, self.wavelet, dim)  # type: ignore[arg-type]
        return apply_along(x, self._matrix(analysis, x.shape[dim]), dim)

    def backward(self, x: Tensor, dim: int) -> Tensor:
        if self._is_lifted(x.shape[dim]):
            return lifting.synthesise(x, self.wavelet, dim)  # type: ignore[arg-type]
        return apply_along(x, self._matrix(synthesis, x.shape[dim]), dim)

    def _matrix(self, kind: object, n: int) -> Matrix:
        matrix: Matrix = kind(self.wavelet, n)  # type: ignore[operator]
        return matrix

    def _is_lifted(self, n: int) -> bool:
        if self.lifted is None:
            return self.wavelet in LIFTED and n > _DENSE
        return self.lifted


def _check_levels(name: str, levels: int | None, n: int) -> int:
    """Check a number of levels, or choose one for n samples."""
    if levels is None:
        return (n - 1).bit_length()
    if not 0 <= levels <= 32:
        raise ValueError(f"{name} is {levels}; give 0 to 32, or None for as many as there are")
    return levels
