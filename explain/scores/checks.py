"""What a score can be computed from: maps with a value for each pixel."""

import torch
from torch import Tensor


def check_maps(name: str, maps: Tensor) -> None:
    """Raise ValueError unless maps are (B, H, W) or (B, T, H, W), and finite."""
    if maps.ndim not in (3, 4) or not maps.numel():
        raise ValueError(
            f"{name} have shape {tuple(maps.shape)}; give (B, H, W), of videos (B, T, H, W)"
        )
    if not bool(torch.isfinite(maps).all()):
        raise ValueError(f"{name} hold NaN or inf; leave out those of broken samples")


def check_alike(name: str, other: Tensor, shape: torch.Size) -> None:
    """Raise ValueError unless another tensor has the shape of the maps."""
    if other.shape != shape:
        raise ValueError(
            f"{name} have shape {tuple(other.shape)} and the maps {tuple(shape)}; give one for each"
        )
