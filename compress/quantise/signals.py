"""The signal that is transformed: centred samples, or a difference, in opponent colours."""

import math

import torch
from torch import Tensor

from compress.checks import check_samples
from compress.file_format import KINDS, Kind
from compress.quantise.quantise import dequantise
from compress.wavelet.transform import Coefficients, idwt

MIDDLE = 0.5  # of the range of samples
_CACHED_VALUES = 2**19  # so many at a time stay in a processor's cache
# Orthonormal, so that an error stays as large; nearly the principal axes of photographs' colours.
_ROWS = (
    (math.sqrt(1 / 3), math.sqrt(1 / 3), math.sqrt(1 / 3)),
    (math.sqrt(1 / 2), 0.0, -math.sqrt(1 / 2)),
    (math.sqrt(1 / 6), -math.sqrt(2 / 3), math.sqrt(1 / 6)),
)
# How far a value of red, green or blue is off at most when all three of these are by one.
MOST_MIXED = max(sum(abs(row[i]) for row in _ROWS) for i in range(3))


def to_signal(x: Tensor, kind: Kind, x_adv: Tensor | None) -> Tensor:
    """Centre samples, or subtract x_adv from them: float32 on the CPU, like x.

    Args:
        x: samples (B, C, H, W) or (B, C, T, H, W) in [0, 1].
        kind: see `Codec.encode`.
        x_adv: like x, for kind "delta" and no other.

    Raises:
        ValueError: for samples that cannot be coded, or an unknown kind.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}; allowed: {', '.join(KINDS)}")
    check_samples("x", x)
    if kind != "delta":
        if x_adv is not None:
            raise ValueError(f"x_adv is given, which kind={kind!r} does not take; leave it out")
        return x.detach().float().cpu() - MIDDLE
    if x_adv is None:
        raise ValueError('kind="delta" codes x - x_adv; give x_adv')
    check_samples("x_adv", x_adv)
    if x_adv.shape != x.shape:
        raise ValueError(f"x is {tuple(x.shape)}, x_adv {tuple(x_adv.shape)}; give the same shape")
    return (x.detach() - x_adv.detach()).float().cpu()


def split_for_cache(values: Tensor) -> tuple[Tensor, ...]:
    """Split values (B, ...) into parts (B', ...) that stay in a processor's cache."""
    return torch.split(values, max(1, _CACHED_VALUES // values[0].numel()))


def dequantise_and_invert(
    q: Coefficients, step: float, kind: Kind, *, lifted: bool | None = True
) -> Tensor:
    """Reconstruct samples, or differences, from quantised coefficients; lifted: see `dwt`."""
    signal = to_rgb(idwt(dequantise(q, step), lifted=lifted))
    return signal.clamp(-1, 1) if kind == "delta" else (signal + MIDDLE).clamp(0, 1)


def to_opponent(x: Tensor) -> Tensor:
    """Transform RGB (B, 3, ...) to brightness, red-blue and green-magenta; others stay."""
    return _mix_channels(x, _ROWS)


def to_rgb(x: Tensor) -> Tensor:
    """Invert `to_opponent`."""
    return _mix_channels(x, tuple(zip(*_ROWS, strict=True)))


def _mix_channels(x: Tensor, rows: tuple[tuple[float, ...], ...]) -> Tensor:
    """Mix the channels elementwise: a matrix product may depend on the number of threads."""
    if x.shape[1] != 3:
        return x
    r, g, b = x.unbind(1)
    return torch.stack([row[0] * r + row[1] * g + row[2] * b for row in rows], 1)
