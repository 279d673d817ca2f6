"""How alike samples and their reconstructions are, a number a sample."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW, SIGMA = 11, 1.5  # of the Gaussian that weighs a place and those around it
STABLE = (0.01**2, 0.03**2)  # for values in [0, 1]
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
SMALLEST = (WINDOW - 1) * 2 ** (len(SCALES) - 1)  # a side must be longer for all scales
EXACT = 1e-10  # squared errors below count as this, so that nothing is better than 100 dB


def squared_error(x: Tensor, y: Tensor) -> Tensor:
    """Return the mean squared difference of samples (B, ...), (B,)."""
    return (x - y).square().flatten(1).mean(1)


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratios (B,) in dB of samples (B, ...) in [0, 1].

    >>> psnr(torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.1))
    tensor([20.])
    """
    return -10 * squared_error(x, y).clamp_min(EXACT).log10()


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Return the structural similarities (B,): means over places, channels and frames.

    The window fits within the picture at every place; in pictures smaller than it, it is as
    large as they are, or one less where that is even.

    Args:
        x: (B, C, H, W) or (B, C, T, H, W) in [0, 1].
        y: like x.

    Source: Wang, Bovik, Sheikh & Simoncelli 2004, equation 13.
    """
    similar, _ = _similar(*(_planes(v) for v in (x, y)))
    return similar.view(len(x), -1).mean(1)


def ms_ssim(x: Tensor, y: Tensor) -> Tensor | None:
    """Return the structural similarities over five scales, (B,); None for sides up to 160.

    Args:
        x: as of `ssim`.
        y: like x.

    Source: Wang, Simoncelli & Bovik 2003, equation 7.
    """
    if min(x.shape[-2:]) <= SMALLEST:
        return None
    a, b = _planes(x), _planes(y)
    product = torch.ones(len(a))
    for scale, weight in enumerate(SCALES):
        similar, contrast = _similar(a, b)
        last = scale == len(SCALES) - 1
        product = product * (similar if last else contrast).clamp_min(0) ** weight
        a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    return product.view(len(x), -1).mean(1)


def _planes(x: Tensor) -> Tensor:
    """Return each channel of each frame as a picture of its own, (N, 1, H, W)."""
    planes = x.transpose(1, 2).flatten(0, 2) if x.ndim == 5 else x.flatten(0, 1)
    return planes.unsqueeze(1)  # (N, 1, H, W)


def _similar(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return the similarity of pictures (N, 1, H, W), and that of their contrast alone, (N,)."""
    size = min(WINDOW, *((side - 1) // 2 * 2 + 1 for side in a.shape[-2:]))
    mean_a, mean_b, aa, bb, ab = (_blurred(v, size) for v in (a, b, a * a, b * b, a * b))
    contrast = (2 * (ab - mean_a * mean_b) + STABLE[1]) / (
        aa - mean_a**2 + bb - mean_b**2 + STABLE[1]
    )
    bright = (2 * mean_a * mean_b + STABLE[0]) / (mean_a**2 + mean_b**2 + STABLE[0])
    return (bright * contrast).flatten(1).mean(1), contrast.flatten(1).mean(1)


def _blurred(x: Tensor, size: int) -> Tensor:
    """Return Gaussian means, without the places where the window reaches beyond the border."""
    away = torch.arange(size) - size // 2
    line = torch.exp(-(away**2) / (2 * SIGMA**2))
    line = line / line.sum()
    return F.conv2d(F.conv2d(x, line.view(1, 1, -1, 1)), line.view(1, 1, 1, -1))


def nearest(y: Tensor, x: Tensor) -> Tensor:
    """Tell whether each reconstruction is nearer to its own sample than to any other, (B,) bool.

    Args:
        y: reconstructions (B, ...).
        x: the samples, all of them, like y; nearness is the squared difference of pixels.
    """
    a, b = y.flatten(1).double(), x.flatten(1).double()
    away = (b**2).sum(1) - 2 * a @ b.T  # (B, B), less |a|^2, which is the same along a row
    best = away.argmin(1)
    return best == torch.arange(len(x))


def mean(values: Tensor | None) -> float | None:
    """Return the mean as a number JSON knows; None for None."""
    if values is None or not values.numel():
        return None
    number = float(values.double().mean())
    return number if math.isfinite(number) else None
