"""Thresholds: few wavelet coefficients that say most."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from compress.wavelet.transform import Coefficients

_MEDIAN_OF_NORMAL = 0.6744897501960817  # the median of the absolute value of N(0, 1)


def hard(c: Coefficients, threshold: float | Tensor) -> Coefficients:
    """Set to 0 what is at most a threshold in size.

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
    """Move all towards 0 by a threshold, and what is smaller to it.

    Args:
        c: coefficients.
        threshold: a number, or one a sample, (B,), at least 0.

    Source: Donoho 1995.
    """
    size = _column(threshold, c)
    return c.with_values(c.values.sign() * (c.values.abs() - size).clamp_min(0))


def bayes_shrink(c: Coefficients) -> Coefficients:
    """Soft-threshold each band of each channel by noise variance over signal deviation.

    The noise is estimated from the median of each sample's finest diagonal band; the low-pass
    band stays.

    Source: Chang, Yu & Vetterli 2000, eqs. (9) to (12).
    """
    finest = [b for b in c.bands if all(b.high[1:])]
    if not finest:
        return c
    noise = _median(c.band(finest[-1]).flatten(2).abs()) / _MEDIAN_OF_NORMAL  # (B, C)
    out = c.with_values(c.values.clone())
    for band in c.bands:
        if any(band.high):
            part = out.band(band)  # (B, C, T, H, W)
            signal = ((part**2).flatten(2).mean(2) - noise**2).clamp_min(0).sqrt()
            size = noise**2 / signal  # inf where there is noise alone
            size = torch.nan_to_num(size, nan=0.0, posinf=math.inf)[..., None, None, None]
            part.copy_(part.sign() * (part.abs() - size).clamp_min(0))
    return out


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


def energy(c: Coefficients, share: float) -> Coefficients:
    """Keep the fewest coefficients of each sample that have a share of its energy.

    Raises:
        ValueError: unless 0 <= share <= 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share}; give 0 to 1")
    order = c.flat.abs().argsort(1, descending=True)
    ranked = c.flat.gather(1, order).double() ** 2
    before = ranked.cumsum(1) - ranked  # what the larger ones have, (B, C*T*H*W)
    needed = before < share * ranked.sum(1, keepdim=True)
    keep = torch.zeros_like(c.flat, dtype=torch.bool).scatter_(1, order, needed)
    return c.with_values(c.flat * keep)


def rate(
    c: Coefficients, target: float, size: Callable[[Coefficients], float], *, tries: int = 24
) -> Coefficients:
    """Hard-threshold all samples alike, by as little as brings their size down to a target.

    Args:
        c: coefficients.
        target: what the size may be at most.
        size: of coefficients, in the target's unit; falls as they become fewer.
        tries: halvings of the search.

    Raises:
        ValueError: when even no coefficient at all is more than the target.
    """
    if size(c) <= target:
        return c
    low, high = 0.0, float(c.values.abs().max())
    if (least := size(hard(c, high))) > target:
        raise ValueError(f"target is {target}; without any coefficient the size is {least}")
    for _ in range(tries):
        middle = (low + high) / 2
        low, high = (middle, high) if size(hard(c, middle)) > target else (low, middle)
    return hard(c, high)


def _median(values: Tensor) -> Tensor:
    """Return the median along the last dimension, between the two middle ones of an even number."""
    ordered, n = values.sort(-1).values, values.shape[-1]
    return (ordered[..., (n - 1) // 2] + ordered[..., n // 2]) / 2


def _column(threshold: float | Tensor, c: Coefficients) -> Tensor:
    """Return a threshold as it is multiplied with values, (B or 1, 1, ...)."""
    size = torch.as_tensor(threshold, dtype=c.values.dtype, device=c.values.device)
    if size.ndim > 1 or not (size >= 0).all():
        raise ValueError(f"threshold is {threshold}; give numbers of at least 0, one or (B,)")
    return size.reshape(-1, *[1] * (c.values.ndim - 1))
