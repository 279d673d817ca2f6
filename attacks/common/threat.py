"""The set of allowed perturbations: the one place where norms differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import get_args

import torch
from torch import Tensor

from attacks.attack import Norm, lengths
from attacks.common.randomness import laplace, normal, uniform


def check_norm(norm: str) -> None:
    """Raise ValueError unless `norm` is one that Threat knows."""
    if norm not in get_args(Norm):
        raise ValueError(f"norm is {norm!r}; allowed here: {', '.join(get_args(Norm))}")


def check_radius(norm: str, eps: float | Tensor | None) -> None:
    """Raise ValueError for a radius in linf that only pixels from 0 to 255 could need.

    A batch may hold a radius for each sample, and be refused where all are as large.
    """
    least = eps.amin().item() if isinstance(eps, Tensor) and eps.numel() else eps
    if norm == "linf" and isinstance(least, (int, float)) and least > 1:
        raise ValueError(
            f"eps is {least} in linf, and pixels lie in [0, 1]; give at most 1: write 8 of 255 "
            "as 8/255"
        )


def check_eps(eps: float | Tensor, x: Tensor) -> Tensor:
    """Return eps as a tensor that broadcasts over x, (B, 1, ..., 1).

    Raises:
        ValueError: when eps is negative, not finite, or neither a number nor (B,).
    """
    if isinstance(eps, Tensor) and eps.dtype == torch.bool:
        raise ValueError("eps is a tensor of True and False; give numbers, one a sample")
    value = torch.as_tensor(eps, dtype=x.dtype, device=x.device)
    if value.ndim > 1 or (value.ndim == 1 and len(value) != len(x)):
        raise ValueError(
            f"eps has shape {tuple(value.shape)} for {len(x)} samples; give a number or one "
            "value a sample"
        )
    if not bool((torch.isfinite(value) & (value >= 0)).all()):
        raise ValueError(f"eps is {value.tolist()}; give finite values >= 0")
    return value.expand(len(x)).reshape(-1, *[1] * (x.ndim - 1))  # (B, 1, ..., 1)


def column(values: Tensor, x: Tensor) -> Tensor:
    """Return values (B,) so that they broadcast over x (B, ...), (B, 1, ..., 1)."""
    return values.reshape(-1, *[1] * (x.ndim - 1))


@dataclass(frozen=True)
class Threat:
    """All x_adv in [0, 1] with ||x_adv - x|| <= eps, a centre and a radius for each sample.

    Args:
        x: the clean samples, (B, ...) in [0, 1].
        norm: "linf", "l2" or "l1".
        eps: radius in pixel units, broadcastable over x, (B, 1, ..., 1).
    """

    x: Tensor
    norm: Norm
    eps: Tensor

    @classmethod
    def around(cls, x: Tensor, *, norm: Norm, eps: float | Tensor) -> "Threat":
        """Build the threat for a batch x (B, ...) from a number or one radius a sample (B,)."""
        check_norm(norm)
        return cls(x, norm, check_eps(eps, x))

    def project(self, x_adv: Tensor) -> Tensor:
        """Return the point of the ball and of [0, 1] that x_adv is moved to.

        For linf and l1 it is the nearest one. For l2 it is found by the ball first, then the
        box: x lies in the box, so clamping to it only shortens delta.
        """
        if self.norm == "linf":
            low, high = self.box
            return torch.clamp(x_adv, low, high)
        delta = x_adv - self.x  # from here on in place: fresh memory is what projecting costs
        if self.norm == "l1":
            room = self._room(self.x, delta)
            inside = nearest_in_l1_ball(delta.flatten(1), room=room, eps=self.eps.flatten(1))
            inside = inside.reshape(delta.shape)
        else:
            size = lengths(delta, self.norm).reshape(self.eps.shape)
            inside = delta.mul_((self.eps / size.clamp_min(1e-12)).clamp_max(1))
        result = inside.add_(self.x).clamp_(0, 1)
        # x + delta is rounded, by more than the tolerance when eps is tiny: step back towards x.
        outside = lengths(result - self.x, self.norm).reshape(self.eps.shape) > self.eps
        return result.nextafter_(result.lerp(self.x, outside.to(result)))  # to x or to itself

    @cached_property
    def box(self) -> tuple[Tensor, Tensor]:
        """The lowest and the highest samples of a ball in linf, cut to [0, 1]."""
        x, eps = self.x, self.eps
        low, high = (x - eps).clamp_(0, 1), (x + eps).clamp_(0, 1)
        # Rounding may have left the ball: step back towards x.
        low = torch.where(x - low > eps, low.nextafter(x), low)
        return low, torch.where(high - x > eps, high.nextafter(x), high)

    def random_start(self, generators: Sequence[torch.Generator]) -> Tensor:
        """Draw a point uniformly from the ball around each sample, projected to [0, 1]."""
        if self.norm == "linf":
            delta = self.eps * uniform(self.x, generators)
        else:
            # Over its length, either is uniform on the surface of its norm's ball.
            direction = (normal if self.norm == "l2" else laplace)(self.x, generators)
            radius = torch.stack([torch.rand((), generator=g) for g in generators]).to(self.x)
            radius = radius.pow(1 / direction[0].numel()).reshape(self.eps.shape)
            size = lengths(direction, self.norm).reshape(self.eps.shape)
            delta = self.eps * radius * direction / size
        return self.project(self.x + delta)

    def ascent(
        self,
        gradient: Tensor,
        *,
        at: Tensor | None = None,
        length: float | Tensor = 1.0,
        count: Tensor | None = None,
    ) -> Tensor:
        """Return the step of a given length that the loss grows along.

        linf: the gradient's sign; l2: the gradient over its length; l1: equal parts for the
        largest of its entries that can still move, see `sparse_l1_step`. A zero or non-finite
        gradient gives no direction, so that sample stays where it is.

        Args:
            gradient: of the loss, like x.
            at: where the step begins, in [0, 1] and like x; only l1 asks. None is x.
            length: of the step in its norm, a number or (B, 1, ..., 1).
            count: how many entries a step in l1 changes, (B,); None: see `sparse_l1_step`.
        """
        gradient = gradient.nan_to_num(0, 0, 0)
        if self.norm == "linf":
            return gradient.sign_().mul_(length)
        if self.norm == "l1":
            room = self._room(self.x if at is None else at, gradient)
            wanted = (torch.ones_like(self.eps) * length).flatten(1)  # (B, 1)
            entries = None if count is None else count.reshape(-1, 1)  # (B, 1)
            eps = self.eps.reshape(-1, 1)  # (B, 1)
            step = sparse_l1_step(
                gradient.flatten(1), room=room, length=wanted, eps=eps, count=entries
            )
            return step.reshape(gradient.shape)
        # Scaled by the largest entry first: the squares of a tiny gradient would underflow.
        peak = lengths(gradient, "linf").reshape(self.eps.shape)
        gradient = gradient / peak.clamp_min(torch.finfo(gradient.dtype).tiny)
        size = lengths(gradient, self.norm).reshape(self.eps.shape)
        return length * (gradient / size.clamp_min(1e-12))

    def _room(self, at: Tensor, direction: Tensor) -> Tensor:
        """Return how far each value can go in a direction before it leaves [0, 1], (B, D)."""
        return torch.where(direction > 0, 1 - at, at).flatten(1)


# How many values a step moves at most: a share of them all, as in SLIDE, and so many per unit of
# eps, which is fewer in small balls and in large images.
_SHARE, _SPREAD = 0.01, 4.0


def nearest_in_l1_ball(delta: Tensor, *, room: Tensor, eps: Tensor) -> Tensor:
    """Return the Euclidean projection of delta onto the l1 ball and the box at once.

    Every entry is shortened by the same amount and cut to its room. The amount is found by
    bisection: sorting, the other exact way, took twelve times as long on a CPU.

    Args:
        delta: the wanted change, (B, D).
        room: how far each entry may go in its own direction, (B, D), >= 0.
        eps: radius, (B, 1).

    Source: Croce & Hein 2021, proposition 2.1.
    """
    size = delta.abs()
    low, high = torch.zeros_like(eps), size.amax(1, keepdim=True)
    for _ in range(_bits(delta)):
        middle = (low + high) / 2
        outside = _shortened(size, middle, room).sum(1, keepdim=True) > eps
        low, high = torch.where(outside, middle, low), torch.where(outside, high, middle)
    result = _shortened(size, low, room)
    # What the last bit of the amount adds up to over many entries may exceed the ball.
    total = result.sum(1, keepdim=True).clamp_min(torch.finfo(delta.dtype).tiny)
    return delta.sign() * result * (eps / total).clamp_max(1)


def _bits(values: Tensor) -> int:
    """Return how often an interval can be halved before its ends are neighbouring numbers."""
    return 24 if values.dtype == torch.float32 else 53


def _shortened(size: Tensor, amount: Tensor, room: Tensor) -> Tensor:
    return (size - amount).clamp_(min=0).minimum(room)


def filled(gradient: Tensor, *, room: Tensor, length: Tensor) -> Tensor:
    """Return the change of a given length that a linear loss grows most by.

    The entries with the largest gradients use up their room until the length is spent; equal
    ones at the end share what is left. The last gradient to take part is found by bisection.

    Args:
        gradient: finite, (B, D).
        room: how far each entry may go along its gradient, (B, D), >= 0.
        length: the l1 length to spend, (B, 1).
    """
    size = gradient.abs()
    room = room.masked_fill(size == 0, 0)
    low, high = torch.zeros_like(length), size.amax(1, keepdim=True) * 2
    for _ in range(_bits(gradient)):
        middle = (low + high) / 2
        enough = (room * (size >= middle)).sum(1, keepdim=True) >= length
        low, high = torch.where(enough, middle, low), torch.where(enough, high, middle)
    surely, perhaps = room * (size >= high), room * ((size >= low) & (size < high))
    left = (length - surely.sum(1, keepdim=True)).clamp_min(0)
    total = perhaps.sum(1, keepdim=True).clamp_min(torch.finfo(gradient.dtype).tiny)
    return gradient.sign() * (surely + perhaps * (left / total).clamp_max(1))


def sparse_l1_step(
    gradient: Tensor, *, room: Tensor, length: Tensor, eps: Tensor, count: Tensor | None = None
) -> Tensor:
    """Return a step of a given length, shared by the largest gradients that can still move.

    They are `count` entries, at least one, and more where the ends of the range stop some.

    Args:
        gradient: finite, (B, D).
        room: how far each entry may go along its gradient, (B, D), >= 0.
        length: the l1 length of the step, (B, 1).
        eps: radius of the ball, (B, 1).
        count: how many entries the step is for, (B, 1); None takes what _SHARE and _SPREAD allow.

    Source: Tramer & Boneh 2019, section 3.2 (SLIDE).
    """
    if count is None:
        count = (_SPREAD * eps).clamp_max(_SHARE * gradient.shape[1])
    part = length / count.clamp_min(1)
    return filled(gradient, room=room.minimum(part), length=length)
