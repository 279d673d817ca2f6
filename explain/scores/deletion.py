"""Deletion and insertion: how the class's probability goes as pixels leave or come by a map."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from attacks.common.forward import wrap_forward
from attacks.common.frozen import frozen
from explain.class_scores import probabilities
from explain.gaussian_blur import gaussian_blur
from explain.scores.checks import check_alike, check_maps

Fill = float | Literal["blur"]  # what stands where a pixel is not shown: a value, or the blur


def deletion_curve(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    maps: Tensor,
    *,
    steps: int = 50,
    fill: Fill = 0.0,
    chunk: int = 64,
    tell: Callable[[int], object] | None = None,
) -> Tensor:
    """Return the probability of class y as a map's highest pixels are deleted, step by step.

    Equal values of a map go in reading order. A good map has a small area under its curve. The
    curve is NaN where logits are not finite.

    Args:
        model: the classifier; left exactly as it was.
        x: images (B, C, H, W) or videos (B, C, T, H, W) in [0, 1].
        y: classes, int64 (B,).
        maps: (B, H, W) or (B, T, H, W).
        steps: S, equal shares of the pixels.
        fill: a value in [0, 1] of all channels, or "blur".
        chunk: samples in a pass, which bounds the memory.
        tell: called with the number of samples done after each pass, of B * (S + 1).

    Returns:
        Probabilities (B, S + 1), from the whole sample to the fill alone.

    Raises:
        ValueError: for maps that do not fit the samples.

    Source: Petsiuk, Das & Saenko 2018, section 4.1, algorithm 1.
    """
    hidden = _filled(x, fill)
    return _curve(model, x, hidden, y, maps, steps=steps, chunk=chunk, tell=tell)


def insertion_curve(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    maps: Tensor,
    *,
    steps: int = 50,
    fill: Fill = "blur",
    chunk: int = 64,
    tell: Callable[[int], object] | None = None,
) -> Tensor:
    """Return the probability of class y as a map's highest pixels are shown, step by step.

    A good map has a large area under its curve, (B, S + 1) from the fill alone to the whole sample.
    Errors are those of `deletion_curve`.

    Args:
        model: the classifier; left exactly as it was.
        x: images (B, C, H, W) or videos (B, C, T, H, W) in [0, 1].
        y: classes, int64 (B,).
        maps: (B, H, W) or (B, T, H, W).
        steps: S, equal shares of the pixels.
        fill: a value in [0, 1] of all channels, or "blur".
        chunk: samples in a pass, which bounds the memory.
        tell: called with the number of samples done after each pass, of B * (S + 1).

    Source: Petsiuk, Das & Saenko 2018, section 4.1, algorithm 1.
    """
    hidden = _filled(x, fill)
    return _curve(model, hidden, x, y, maps, steps=steps, chunk=chunk, tell=tell)


def area_under(curve: Tensor) -> Tensor:
    """Return the area under curves (B, S + 1) over the shares 0 to 1 of the pixels, (B,).

    >>> area_under(torch.tensor([[1.0, 0.5, 0.0]]))
    tensor([0.5000])
    """
    return torch.trapezoid(curve, dim=1) / (curve.shape[1] - 1)


def blur(x: Tensor, *, sigma: float | None = None) -> Tensor:
    """Return samples under a Gaussian blur of their rows and columns, each frame by itself.

    Args:
        x: (B, C, H, W) or (B, C, T, H, W).
        sigma: standard deviation in pixels; None takes 5 per 224 pixels of the shorter side, at
            least 1: in small images, too, a blur that leaves no detail.

    Source: Petsiuk, Das & Saenko 2018, section 4.1, whose images of 224 pixels have sigma 5.
    """
    sigma = max(1.0, 5 * min(x.shape[-2:]) / 224) if sigma is None else sigma
    return gaussian_blur(x, sigma=sigma)


def _filled(x: Tensor, fill: Fill) -> Tensor:
    """Return what stands in the place of samples x (B, C, ...) that are not shown."""
    if fill == "blur":
        return blur(x)
    if isinstance(fill, str) or not 0 <= fill <= 1:
        raise ValueError(f"fill is {fill!r}; give a number from 0 to 1, or 'blur'")
    return torch.full_like(x, fill)


def _curve(
    model: nn.Module,
    first: Tensor,
    last: Tensor,
    y: Tensor,
    maps: Tensor,
    *,
    steps: int,
    chunk: int,
    tell: Callable[[int], object] | None,
) -> Tensor:
    """Return the probabilities (B, S + 1) of y on the way from samples `first` to `last`."""
    check_maps("maps", maps)
    check_alike("samples without their channels", first[:, 0], maps.shape)
    order = maps.flatten(1).argsort(dim=1, descending=True, stable=True)  # (B, P)
    rank = order.argsort(1).reshape(maps.shape)[:, None]  # (B, 1, ...), 0 for the highest
    sizes = torch.linspace(0, order.shape[1], steps + 1, device=maps.device).round().long()
    points, found = len(first) * (steps + 1), []
    with frozen(model):
        forward = wrap_forward(model, first)[0]
        for start in range(0, points, chunk):
            number = torch.arange(start, min(start + chunk, points), device=maps.device)
            rows, size = number // (steps + 1), sizes[number % (steps + 1)]
            changed = rank[rows] < size.reshape(-1, *[1] * (first.ndim - 1))
            mixed = torch.where(changed, last[rows], first[rows])
            found.append(probabilities(forward, mixed, y[rows], chunk=chunk))
            if tell:
                tell(len(number) + start)
    return torch.cat(found).reshape(len(first), steps + 1)
