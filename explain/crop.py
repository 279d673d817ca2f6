"""A part of each sample of a batch, from a place of its own."""

import torch
from torch import Tensor


def crop(values: Tensor, starts: Tensor, sides: torch.Size) -> Tensor:
    """Return the parts (N, C, *sides) of values (N, C, ...); beyond a border its edge repeats.

    Args:
        values: what to cut from.
        starts: the first pixel of each part along each axis, int64 (N, axes); may be negative.
        sides: how long the parts are.

    >>> crop(torch.arange(4.0).view(1, 1, 1, 4), torch.tensor([[0, -1]]), torch.Size([1, 3]))
    tensor([[[[0., 0., 1.]]]])
    """
    for axis, side in enumerate(sides):
        places = starts[:, axis, None] + torch.arange(side, device=values.device)  # (N, side)
        shape = [len(values), *[1] * (values.ndim - 1)]
        shape[axis + 2] = side
        places = places.clamp(0, values.shape[axis + 2] - 1).view(shape)
        values = values.take_along_dim(places, dim=axis + 2)
    return values
