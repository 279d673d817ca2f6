"""The set of allowed perturbations: the one place where norms differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from attacks.common import l1
from attacks.common.inputs import check_eps
from attacks.common.randomness import laplace, normal, uniform

Norm = Literal["linf", "l2", "l1"]


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


def lengths(delta: Tensor, norm: Norm) -> Tensor:
    """Return the norm of each sample of delta (B, ...) as (B,)."""
    flat = delta.flatten(1)  # (B, D)
    if norm == "l2":
        size: Tensor = torch.linalg.vector_norm(flat, dim=1)
        return size
    # vector_norm took ten times as long for linf, and five for l1
    if norm == "linf":
        return torch.maximum(flat.amax(1), -flat.amin(1))
    return flat.abs().sum(1)


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
        delta = x_adv - self.x  # from here on in place: fresh memory is what projecting costs
        if self.norm == "linf":
            inside = delta.clamp_min_(-self.eps).clamp_max_(self.eps)
        elif self.norm == "l1":
            room = self._room(self.x, delta)
            inside = l1.nearest(delta.flatten(1), room=room, eps=self.eps.flatten(1))
            inside = inside.reshape(delta.shape)
        else:
            size = lengths(delta, self.norm).reshape(self.eps.shape)
            inside = delta.mul_((self.eps / size.clamp_min(1e-12)).clamp_max(1))
        result = inside.add_(self.x).clamp_(0, 1)
        # x + delta is rounded, by more than the tolerance when eps is tiny: step back towards x.
        outside = lengths(result - self.x, self.norm).reshape(self.eps.shape) > self.eps
        return result.nextafter_(result.lerp(self.x, outside.to(result)))  # to x or to itself

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
        largest of its entries that can still move, see `l1.sparse`. A zero or non-finite
        gradient gives no direction, so that sample stays where it is.

        Args:
            gradient: of the loss, like x.
            at: where the step begins, in [0, 1] and like x; only l1 asks. None is x.
            length: of the step in its norm, a number or (B, 1, ..., 1).
            count: how many entries a step in l1 changes, (B,); None: see `l1.sparse`.
        """
        gradient = gradient.nan_to_num(0, 0, 0)
        if self.norm == "linf":
            return gradient.sign_().mul_(length)
        if self.norm == "l1":
            room = self._room(self.x if at is None else at, gradient)
            wanted = (torch.ones_like(self.eps) * length).flatten(1)  # (B, 1)
            entries = None if count is None else count.reshape(-1, 1)  # (B, 1)
            eps = self.eps.reshape(-1, 1)  # (B, 1)
            step = l1.sparse(gradient.flatten(1), room=room, length=wanted, eps=eps, count=entries)
            return step.reshape(gradient.shape)
        # Scaled by the largest entry first: the squares of a tiny gradient would underflow.
        peak = lengths(gradient, "linf").reshape(self.eps.shape)
        gradient = gradient / peak.clamp_min(torch.finfo(gradient.dtype).tiny)
        size = lengths(gradient, self.norm).reshape(self.eps.shape)
        return length * (gradient / size.clamp_min(1e-12))

    def _room(self, at: Tensor, direction: Tensor) -> Tensor:
        """Return how far each value can go in a direction before it leaves [0, 1], (B, D)."""
        return torch.where(direction > 0, 1 - at, at).flatten(1)
