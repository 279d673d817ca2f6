"""The pointing game: does a map's maximum lie on the object?"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from explain.scores.checks import check_alike, check_maps


def pointing_game(maps: Tensor, masks: Tensor, *, tolerance: float = 0) -> Tensor:
    """Return the share of each map's maxima that lie in its mask or near it, (B,).

    With one maximum that is a hit, 1, or a miss, 0. Of several equal ones each is as good a point,
    and an empty map scores as a point drawn at random.

    Args:
        maps: (B, H, W), of videos (B, T, H, W).
        masks: bool, like maps.
        tolerance: distance in pixels, within a frame, up to which a maximum is near the mask.

    Raises:
        ValueError: for maps and masks that do not fit each other.

    Source: Zhang et al. 2016, section 4.2, with a tolerance of 15 pixels.

    >>> maps = torch.tensor([[[0.0, 1.0], [0.5, 0.0]]])
    >>> pointing_game(maps, maps == 0.5), pointing_game(maps, maps == 0.5, tolerance=1.5)
    (tensor([0.]), tensor([1.]))
    """
    check_maps("maps", maps)
    check_alike("masks", masks, maps.shape)
    maxima = maps == maps.flatten(1).amax(1).reshape(-1, *[1] * (maps.ndim - 1))
    hits = maxima & (grow(masks, by=tolerance) if tolerance else masks.bool())
    return hits.flatten(1).sum(1) / maxima.flatten(1).sum(1)


def grow(masks: Tensor, *, by: float) -> Tensor:
    """Return masks (..., H, W) with all pixels up to a distance of their own, bool.

    >>> grow(torch.tensor([[True, False, False]]), by=1)
    tensor([[ True,  True, False]])
    """
    reach = math.floor(by)
    places = torch.arange(-reach, reach + 1, device=masks.device)
    disk = places[:, None] ** 2 + places**2 <= by**2  # (2 R + 1, 2 R + 1)
    planes = masks.bool().reshape(-1, 1, *masks.shape[-2:]).float()
    touched = F.conv2d(planes, disk[None, None].float(), padding=reach)
    return (touched > 0.5).reshape(masks.shape)
