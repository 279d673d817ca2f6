"""Wavelet thresholding: few coefficients that hold most of a sample."""

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from compress.quantise.quantise import normalise_subbands
from compress.wavelet.transform import Coefficients

Threshold = Literal["hard", "soft", "bayes", "top-k"]
_MEDIAN_OF_NORMAL = 0.6744897501960817  # the median of the absolute value of N(0, 1)


def hard(c: Coefficients, threshold: float | Tensor) -> Coefficients:
    """Set coefficients of at most a threshold in size to 0.

    Args:
        c: coefficients.
        threshold: a number, or one a sample, (B,), at least 0.

    >>> from compress import dwt
    >>> hard(dwt(torch.tensor([[[[3.0, 1.0]]]]), wavelet="haar", levels=1), 1.5).flat
    tensor([[2.8284, 0.0000]])

    Source: Donoho & Johnstone 1994.
    """
    size = _column(threshold, c)
    return c.with_values(c.values * (c.values.abs() > size))


def soft(c: Coefficients, threshold: float | Tensor) -> Coefficients:
    """Move all coefficients towards 0 by a threshold, smaller ones to 0.

    Args:
        c: coefficients.
        threshold: a number, or one a sample, (B,), at least 0.

    Source: Donoho 1995.
    """
    size = _column(threshold, c)
    return c.with_values(c.values.sign() * (c.values.abs() - size).clamp_min(0))


def bayes_shrink(c: Coefficients) -> Coefficients:
    """Soft-threshold each band of each channel by noise variance over signal deviation.

    The noise is that of `noise_level`; the low-pass band stays.

    Source: Chang, Yu & Vetterli 2000, eqs. (9) to (12).
    """
    noise = noise_level(c)  # (B, C)
    out = c.with_values(c.values.clone())
    for band in c.bands:
        if any(band.high):
            part = out.band(band)  # (B, C, T, H, W)
            signal = ((part**2).flatten(2).mean(2) - noise**2).clamp_min(0).sqrt()
            size = noise**2 / signal  # inf where there is noise alone
            _shrink(part, torch.nan_to_num(size, nan=0.0, posinf=math.inf))
    return out


def universal_shrink(c: Coefficients) -> Coefficients:
    """Soft-threshold all bands of each channel but the low-pass one by sqrt(2 log n) noise levels.

    n is the number of values in a channel.

    Source: Donoho & Johnstone 1994, section 2.4 (VisuShrink).
    """
    size = noise_level(c) * math.sqrt(2 * math.log(c.values[0, 0].numel()))  # (B, C)
    out = c.with_values(c.values.clone())
    for band in c.bands:
        if any(band.high):
            _shrink(out.band(band), size)
    return out


def noise_level(c: Coefficients) -> Tensor:
    """Estimate the noise in each channel, (B, C), from the median of its finest diagonal band.

    It is 0 where there is no such band.

    Source: Donoho & Johnstone 1994, section 4.1.
    """
    finest = [b for b in c.bands if all(b.high[1:])]
    if not finest:
        return c.values.new_zeros(c.values.shape[:2])
    return _median(c.band(finest[-1]).flatten(2).abs()) / _MEDIAN_OF_NORMAL


def _shrink(part: Tensor, size: Tensor) -> None:
    """Move coefficients (B, C, T, H, W) towards 0 in place, by thresholds (B, C)."""
    part.copy_(part.sign() * (part.abs() - size[..., None, None, None]).clamp_min(0))


def top_k(c: Coefficients, k: int) -> Coefficients:
    """Keep the k largest coefficients of each sample.

    Raises:
        ValueError: unless 0 <= k <= C*T*H*W.
    """
    if not 0 <= k <= c.flat.shape[1]:
        raise ValueError(f"k is {k}; give 0 to {c.flat.shape[1]}")
    kept = torch.zeros_like(c.flat)
    if k:
        best = c.flat.abs().topk(k, 1).indices  # (B, k)
        kept.scatter_(1, best, c.flat.gather(1, best))
    return c.with_values(kept)


def quantise_thresholded(
    c: Coefficients, step: float, *, method: Threshold, k: int
) -> Coefficients:
    """Threshold the coefficients in units of their subband's step, and round what is left.

    The low-pass band is rounded alone.

    Args:
        c: of a wavelet with lifting steps.
        step: of the quantiser; the threshold of "hard" and "soft".
        method: how coefficients are chosen.
        k: largest coefficients of each sample that "top-k" keeps.
    """
    units = normalise_subbands(c, step)
    methods: dict[Threshold, Callable[[Coefficients], Coefficients]] = {
        "hard": partial(hard, threshold=1.0),
        "soft": partial(soft, threshold=1.0),
        "bayes": bayes_shrink,
        "top-k": partial(top_k, k=min(k, c.flat.shape[1])),
    }
    kept = methods[method](units)
    for band in units.bands:
        if not any(band.high):
            kept.band(band).copy_(units.band(band))
    return kept.with_values(kept.values.round())


def _median(values: Tensor) -> Tensor:
    """Compute the median along the last dimension, the mean of the middle two of an even number."""
    ordered, n = values.sort(-1).values, values.shape[-1]
    return (ordered[..., (n - 1) // 2] + ordered[..., n // 2]) / 2


def _column(threshold: float | Tensor, c: Coefficients) -> Tensor:
    """Reshape a threshold to (B or 1, 1, ...), to multiply with values."""
    size = torch.as_tensor(threshold, dtype=c.values.dtype, device=c.values.device)
    if size.ndim > 1 or not (size >= 0).all():
        raise ValueError(f"threshold is {threshold}; give numbers of at least 0, one or (B,)")
    return size.reshape(-1, *[1] * (c.values.ndim - 1))
