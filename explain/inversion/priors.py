"""What an image is like before anything is known of it: not too bright, not too dark, smooth."""

import torch
from torch import Tensor

_TINY = 1e-12  # of a squared slope, which has a gradient then where it is 0


def alpha_norm(x: Tensor, *, alpha: float) -> Tensor:
    """Return the mean of |2 x - 1|^alpha, 0 for grey and 1 for black and white, (B,).

    Args:
        x: images (B, C, H, W) or videos (B, C, T, H, W) in [0, 1].
        alpha: the exponent, at least 1; of 6, values are kept from the ends, and else let be.

    Source: Mahendran & Vedaldi 2015, section 3, divided by the number of values.

    >>> alpha_norm(torch.tensor([[[[0.5, 1.0]]]]), alpha=6)
    tensor([0.5000])
    """
    return (2 * x - 1).abs().pow(alpha).flatten(1).mean(1)


def total_variation(x: Tensor, *, beta: float) -> Tensor:
    """Return the mean of |slope|^beta, (B,).

    A slope has the differences of a value from the next along each axis, with none beyond the
    last, in units of the shorter side: then it is that of the picture, however fine its grid. Of
    videos time is an axis, too, and a frame counts like a pixel.

    Args:
        x: images (B, C, H, W) or videos (B, C, T, H, W) in [0, 1].
        beta: the exponent, at least 1; of 1, edges cost no more than ramps.

    Source: Mahendran & Vedaldi 2015, section 3, divided by the number of values.

    >>> total_variation(torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]]), beta=2)
    tensor([2.])
    """
    squares = torch.zeros_like(x)
    for axis in range(2, x.ndim):
        last = x.narrow(axis, x.shape[axis] - 1, 1)
        squares = squares + x.diff(dim=axis, append=last).square()
    squares = squares * min(x.shape[-2:]) ** 2
    if beta != 2:
        squares = (squares + _TINY).pow(beta / 2)
    return squares.flatten(1).mean(1)
