"""The opponent colour transform: brightness and two differences, which are less correlated."""

import math

import torch
from torch import Tensor

# Orthonormal, so that an error stays as large; nearly the principal axes of photographs' colours.
_ROWS = (
    (math.sqrt(1 / 3), math.sqrt(1 / 3), math.sqrt(1 / 3)),
    (math.sqrt(1 / 2), 0.0, -math.sqrt(1 / 2)),
    (math.sqrt(1 / 6), -math.sqrt(2 / 3), math.sqrt(1 / 6)),
)
# How far a value of red, green or blue is off at most when all three of these are by one.
MOST_MIXED = max(sum(abs(row[i]) for row in _ROWS) for i in range(3))


def to_opponent(x: Tensor) -> Tensor:
    """Transform RGB (B, 3, ...) to brightness, red-blue and green-magenta; others stay."""
    return _mix_channels(x, _ROWS)


def to_rgb(x: Tensor) -> Tensor:
    """Invert `to_opponent`."""
    return _mix_channels(x, tuple(zip(*_ROWS, strict=True)))


def _mix_channels(x: Tensor, rows: tuple[tuple[float, ...], ...]) -> Tensor:
    """Mix the channels elementwise: a matrix product may depend on the number of threads."""
    if x.shape[1] != 3:
        return x
    r, g, b = x.unbind(1)
    return torch.stack([row[0] * r + row[1] * g + row[2] * b for row in rows], 1)
