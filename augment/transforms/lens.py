"""Lens errors: radial distortion, and a vignette."""

import math

import torch
from kornia.geometry.calibration import undistort_image
from torch import Tensor


def distort(x: Tensor, coefficients: Tensor) -> Tensor:
    """Bend each image radially, as a simple lens does; what comes into view is black.

    With r the distance from the centre, 1 in the corners, the pixel at r shows what was at
    r (1 + k r²): a barrel for k > 0, a pincushion for k < 0.

    Args:
        x: `(B, C, H, W)` float in [0, 1].
        coefficients: `(B,)` k of each image, above -1/3, where the edge would fold over.

    Returns:
        A new batch like x, by bilinear resampling.
    """
    height, width = x.shape[-2:]
    right, down = (width - 1) / 2, (height - 1) / 2
    corner = max(math.hypot(right, down), 1)  # pixels from the centre
    camera = x.new_tensor([[corner, 0, right], [0, corner, down], [0, 0, 1]])
    terms = torch.zeros(len(x), 4, dtype=x.dtype, device=x.device)  # (B, 4) k, k2, p1, p2
    terms[:, 0] = coefficients
    return undistort_image(x, camera.expand(len(x), 3, 3), terms)


def vignette(x: Tensor, amounts: Tensor) -> Tensor:
    """Darken each image towards its corners, by 1 - amount r² with r 1 in the corners.

    Args:
        x: `(B, C, H, W)` in [0, 1].
        amounts: `(B,)` in [0, 1], the share of the light that the corners lose.

    Returns:
        A new batch like x.
    """
    height, width = x.shape[-2:]
    down = torch.linspace(-1, 1, height, device=x.device) * (height - 1)  # (H,)
    right = torch.linspace(-1, 1, width, device=x.device) * (width - 1)  # (W,)
    squares = down[:, None] ** 2 + right**2  # (H, W)
    return x * (1 - amounts[:, None, None, None] * squares / squares.max().clamp(min=1))
