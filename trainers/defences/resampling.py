"""Bilinear resampling of boxes, another one for each sample."""

import torch
from torch import Tensor


def line_weights(n: int, start: Tensor, length: Tensor, out: int) -> Tensor:
    """Return the matrices (B, out, n) that resize a piece of a line to `out` points.

    The ends of pieces are aligned, not the centres of their pixels; a piece's own first and last
    pixel repeat beyond it, so that nothing outside it plays a part.

    Args:
        n: points of the line.
        start: first point of each piece, (B,).
        length: points in it, (B,).
        out: points wanted.

    >>> line_weights(4, torch.tensor([1]), torch.tensor([2]), 2)
    tensor([[[0., 1., 0., 0.],
             [0., 0., 1., 0.]]])
    """
    scale = (length.float() / out)[:, None]  # (B, 1)
    within = (torch.arange(out, device=start.device) + 0.5) * scale - 0.5  # (B, out)
    within = torch.minimum(within.clamp_min(0), length[:, None] - 1)
    places = start[:, None] + within
    distance = (places[..., None] - torch.arange(n, device=start.device)).abs()  # (B, out, n)
    return (1 - distance).clamp_min(0)


def placed_weights(n: int, start: Tensor, length: Tensor, out: int) -> Tensor:
    """Return the matrices (B, out, n) that resize a line to `length` points within zeros.

    Args:
        n: points of the line.
        start: where the first of them comes to be, (B,).
        length: points that the line is resized to, (B,).
        out: points in all.
    """
    places = torch.arange(out, device=start.device) - start[:, None]  # (B, out)
    within = (places + 0.5) * (n / length[:, None]) - 0.5
    distance = (within.clamp(0, n - 1)[..., None] - torch.arange(n, device=start.device)).abs()
    inside = (places >= 0) & (places < length[:, None])
    return (1 - distance).clamp_min(0) * inside[..., None]


def apply_weights(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Multiply samples x (B, C, ..., H, W) with rows (B, H', H) and columns (B, W', W).

    Returns:
        Samples (B, C, ..., H', W').
    """
    extra = (slice(None), *[None] * (x.ndim - 3))
    return rows.to(x)[extra] @ x @ columns.to(x)[extra].transpose(-1, -2)
