"""Linear filters with the borders that SciPy names; images of any size, also smaller than these."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import conv2d

# Beyond the end of a b c d: nearest d d d, reflect d c b, mirror c b a.
Border = Literal["nearest", "reflect", "mirror"]


def pad(x: Tensor, rows: int, columns: int, border: Border) -> Tensor:
    """Continue images (..., H, W) by so many rows and columns on either side."""
    down, right = (
        _continued(size, by, border).to(x.device)
        for size, by in zip(x.shape[-2:], (rows, columns), strict=True)
    )
    return x[..., down, :][..., right]  # (..., H + 2 rows, W + 2 columns)


def _continued(size: int, by: int, border: Border) -> Tensor:
    """Return which index stands at -by, ..., size - 1 + by."""
    i = torch.arange(-by, size + by)
    if border == "nearest":
        return i.clamp(0, size - 1)
    period = 2 * size if border == "reflect" else max(2 * size - 2, 1)
    i = i % period
    return torch.minimum(i, period - (border == "reflect") - i)


def correlate(x: Tensor, kernel: Tensor, border: Border) -> Tensor:
    """Correlate each plane of x (..., H, W) with a kernel (h, w) of odd sides."""
    rows, columns = (size // 2 for size in kernel.shape)
    planes = pad(x, rows, columns, border).flatten(0, -3)[None]  # (1, N, H + h - 1, W + w - 1)
    weights = kernel.to(x).expand(planes.shape[1], 1, -1, -1)
    return conv2d(planes, weights, groups=planes.shape[1]).reshape(x.shape)


def gaussian_blur(
    x: Tensor, sigmas: tuple[float, float], *, truncate: float = 4.0, border: Border = "nearest"
) -> Tensor:
    """Blur images (..., H, W) by Gaussians down and across, as `scipy.ndimage.gaussian_filter`.

    Args:
        x: The images.
        sigmas: Standard deviations along H and W, in pixels; 0 leaves a direction alone.
        truncate: Standard deviations after which the kernels end.
        border: How the images go on beyond their edges.
    """
    for dim, sigma in enumerate(sigmas):
        kernel = gaussian_kernel(sigma, int(truncate * sigma + 0.5))  # (k,)
        if len(kernel) > 1:
            x = correlate(x, kernel[:, None] if dim == 0 else kernel[None], border)
    return x


def gaussian_kernel(sigma: float, radius: int) -> Tensor:
    """Return a Gaussian at -radius, ..., radius, float64 (2 radius + 1,), of sum 1."""
    if not radius:
        return torch.ones(1, dtype=torch.float64)
    steps = torch.arange(-radius, radius + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * (steps / sigma) ** 2)
    return weights / weights.sum()
