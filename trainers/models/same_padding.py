"""TensorFlow's "SAME" padding, which depends on the size of what is padded."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return how many places TensorFlow adds before and after an axis.

    As many as let ceil(size / stride) windows fit; an odd one goes to the end.

    >>> same_padding(224, 7, 2), same_padding(225, 7, 2), same_padding(8, 2, 2)
    ((2, 3), (3, 3), (0, 0))
    """
    windows = -(-size // stride)
    total = max((windows - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def pad_same(x: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
    """Pad clips (B, C, T, H, W) with zeros for kernels and strides in (T, H, W).

    A max-pooling may follow as well where nothing is below zero, as behind a ReLU.
    """
    sizes = zip(x.shape[2:], kernel, stride, strict=True)
    padding = [same_padding(*size) for size in sizes]
    flat = [count for pair in reversed(padding) for count in pair]  # F.pad begins with the last
    return F.pad(x, flat) if any(flat) else x
