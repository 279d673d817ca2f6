"""Moving images as a whole: one affine map and one resampling per image."""

import torch
from kornia.geometry.transform import get_rotation_matrix2d, warp_affine
from torch import Tensor


def warp(
    x: Tensor, *, right: Tensor, down: Tensor, mirrored: Tensor, degrees: Tensor, scale: Tensor
) -> Tensor:
    """Mirror, turn, scale and shift each image; what comes into view is black.

    Whole-pixel shifts and mirroring alone copy pixels, to float accuracy.

    Args:
        x: `(B, C, H, W)` float in [0, 1].
        right: `(B,)` shift in pixels.
        down: `(B,)` shift in pixels.
        mirrored: `(B,)` bool, left to right, before all else.
        degrees: `(B,)` turn around the centre, counter-clockwise.
        scale: `(B,)` magnification around the centre.

    Returns:
        A new batch like x.
    """
    height, width = x.shape[-2:]
    x = torch.where(mirrored[:, None, None, None], x.flip(-1), x)
    centre = x.new_tensor([[(width - 1) / 2, (height - 1) / 2]]).expand(len(x), 2)  # (B, 2)
    matrix = get_rotation_matrix2d(centre, degrees, scale[:, None].expand(len(x), 2))  # (B, 2, 3)
    matrix = matrix + torch.stack([right, down], 1)[:, :, None] * matrix.new_tensor([0, 0, 1])
    return warp_affine(x, matrix, (height, width), align_corners=True)
