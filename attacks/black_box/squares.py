"""The square-shaped changes that the Square Attack tries, in each norm."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.attack import lengths
from attacks.common.threat import Threat

Draw = Callable[[int], Tensor]  # n -> n numbers of U[0, 1) for each sample, (B, n)
PLACES = 5  # numbers that place and turn the squares of one proposal; C more choose the signs
GRID = 5  # tiles a side in the start of l2 and l1


@dataclass(frozen=True)
class Windows:
    """One square of `size` pixels a side for each sample.

    Attributes:
        rows: how far each image row lies below the square's first, (B, H).
        columns: how far each image column lies right of the square's first, (B, W).
        size: length of a side.
    """

    rows: Tensor
    columns: Tensor
    size: int

    @classmethod
    def anywhere(cls, x: Tensor, *, size: int, numbers: Tensor) -> "Windows":
        """Place squares uniformly in x (B, C, ..., H, W) by two numbers of U[0, 1), (B, 2)."""
        firsts = [
            (number * places).floor().clamp_max(places - 1)  # (B,); rounding may reach `places`
            for number, places in zip(
                numbers.unbind(1), (length - size + 1 for length in x.shape[-2:]), strict=True
            )
        ]
        return cls.at(x, size=size, first=torch.stack(firsts, 1))

    @classmethod
    def at(cls, x: Tensor, *, size: int, first: Tensor) -> "Windows":
        """Place squares by their first row and column, (B, 2)."""
        rows, columns = (
            torch.arange(length, device=x.device) - start[:, None].long()  # (B, H), (B, W)
            for length, start in zip(x.shape[-2:], first.unbind(1), strict=True)
        )
        return cls(rows, columns, size)

    def mask(self, x: Tensor) -> Tensor:
        """Return where the squares are, bool (B, 1, ..., H, W)."""
        rows, columns = ((side >= 0) & (side < self.size) for side in (self.rows, self.columns))
        return _planes(rows[:, :, None] & columns[:, None, :], x)

    def fill(self, pattern: Tensor, x: Tensor, *, turned: Tensor) -> Tensor:
        """Return pattern (size, size) in the squares and 0 elsewhere, (B, 1, ..., H, W).

        It is transposed where `turned`, bool (B,), says so.
        """
        rows = self.rows.clamp(0, self.size - 1)[:, :, None]  # (B, H, 1)
        columns = self.columns.clamp(0, self.size - 1)[:, None, :]  # (B, 1, W)
        values = torch.where(turned[:, None, None], pattern[columns, rows], pattern[rows, columns])
        return _planes(values, x) * self.mask(x)


def start(threat: Threat, draw: Draw) -> Tensor:
    """Return the first perturbed samples: stripes in linf, a grid of bumps in l2 and l1."""
    x = threat.x
    if threat.norm == "linf":
        signs = _signs(draw(x.shape[1] * x.shape[-1]))
        stripes = signs.reshape(len(x), x.shape[1], *[1] * (x.ndim - 3), x.shape[-1])
        return threat.project(x + threat.eps * stripes)
    return threat.project(x + _tiles(x, draw))


def proposal(threat: Threat, x_adv: Tensor, *, size: int, numbers: Tensor) -> Tensor:
    """Return x_adv with one square of each sample changed.

    Args:
        threat: what is allowed.
        x_adv: the best so far, (B, C, ..., H, W).
        size: of the squares, in pixels.
        numbers: U[0, 1) numbers, (B, PLACES + C).

    Source: Andriushchenko et al. 2020 (Square Attack), algorithms 2 and 3; the l1 version:
    Croce & Hein 2021 (Mind the Box).
    """
    signs = _signs(numbers[:, PLACES:]).reshape(len(x_adv), -1, *[1] * (x_adv.ndim - 2))
    here = Windows.anywhere(x_adv, size=size, numbers=numbers[:, :2])
    if threat.norm == "linf":
        return torch.where(here.mask(x_adv), threat.project(threat.x + threat.eps * signs), x_adv)
    there = Windows.anywhere(x_adv, size=size, numbers=numbers[:, 2:4]).mask(x_adv)
    bump = here.fill(_bump(size, x_adv), x_adv, turned=numbers[:, 4] < 0.5)
    delta = x_adv - threat.x
    delta = _moved(threat, delta, here=here.mask(x_adv), there=there, bump=bump * signs)
    return threat.project(threat.x + delta)


def _moved(threat: Threat, delta: Tensor, *, here: Tensor, there: Tensor, bump: Tensor) -> Tensor:
    """Move length to a bump `here`: what delta had `there`, and what the ball has left."""
    order = {"l2": 2, "l1": 1}[threat.norm]
    spent = _mass(torch.where(here | there, delta, 0), order)  # (B, C, 1, ...)
    unused = threat.eps**order - lengths(delta, threat.norm).reshape(threat.eps.shape) ** order
    budget = (spent + unused.clamp_min(0) / delta.shape[1]) ** (1 / order)
    shape = _unit(bump, order) + _unit(torch.where(here, delta, 0), order)
    return torch.where(here, budget * _unit(shape, order), torch.where(there, 0, delta))


def _mass(values: Tensor, order: int) -> Tensor:
    """Return the sum of |values| ** order over each channel, (B, C, 1, ...)."""
    return values.abs().pow(order).sum(tuple(range(2, values.ndim)), keepdim=True)


def _unit(values: Tensor, order: int) -> Tensor:
    """Return values with the norm of each channel made 1, or left 0."""
    return values / (_mass(values, order) ** (1 / order)).clamp_min(1e-12)


def _tiles(x: Tensor, draw: Draw) -> Tensor:
    """Return a grid of bumps with random signs and directions, like x."""
    height, width = x.shape[-2:]
    size = max(min(height, width) // GRID, 1)
    bump, delta = _bump(size, x), torch.zeros_like(x)
    for top in range(height % size // 2, height - size + 1, size):
        for left in range(width % size // 2, width - size + 1, size):
            tile = Windows.at(x, size=size, first=x.new_tensor([[top, left]]).expand(len(x), 2))
            numbers = draw(1 + x.shape[1])
            signs = _signs(numbers[:, 1:]).reshape(len(x), -1, *[1] * (x.ndim - 2))
            delta = delta + signs * tile.fill(bump, x, turned=numbers[:, 0] < 0.5)
    return delta


def _bump(size: int, x: Tensor) -> Tensor:
    """Return a positive pyramid above a negative one, of length 1, (size, size), of x's kind.

    Source: Andriushchenko et al. 2020, eq. (2).
    """
    half = size // 2
    bump = torch.cat([_pyramid(half, size, x), -_pyramid(size - half, size, x)])
    bump /= bump.norm()
    return bump


def _pyramid(height: int, width: int, x: Tensor) -> Tensor:
    """Return values that fall off with the distance from the centre, (height, width)."""
    rows, columns = (
        (torch.arange(length, device=x.device) - length // 2).abs() for length in (height, width)
    )
    distance = torch.maximum(rows[:, None], columns[None, :])
    steps = torch.arange(1, max(height, width) // 2 + 2, device=x.device).to(x.dtype).pow(-2)
    heights: Tensor = steps.flip(0).cumsum(0).flip(0)
    return heights[distance]  # (height, width)


def _signs(numbers: Tensor) -> Tensor:
    """Return -1 or 1 for each number of U[0, 1)."""
    return torch.where(numbers < 0.5, -1.0, 1.0).to(numbers)


def _planes(values: Tensor, x: Tensor) -> Tensor:
    """Return values (B, H, W) with room for channels and frames, (B, 1, ..., H, W)."""
    return values.reshape(len(x), *[1] * (x.ndim - 3), *x.shape[-2:])
