"""The budget of an attack: a norm and a radius."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attacks.attack import Norm

ROUNDING = 1e-5  # by how much of itself a length may exceed a radius
DIGITS = 6  # of a radius that count: 0.0313725 is 8/255


@dataclass(frozen=True)
class Budget:
    """A norm, and the largest change that it allows.

    Attributes:
        norm: "linf", "l2" or "l1".
        eps: the radius in pixel units; one a sample where they differ; None for an attack that
            looks for the smallest change of this norm.
    """

    norm: Norm
    eps: float | tuple[float, ...] | None

    def __str__(self) -> str:
        """Return it as users write it.

        >>> print(Budget("linf", 8 / 255), Budget("l2", None), sep=", ")
        linf 8/255, smallest l2
        """
        if self.eps is None:
            return f"smallest {self.norm}"
        if isinstance(self.eps, tuple):
            return f"{self.norm} {min(self.eps):.4g} to {max(self.eps):.4g}"
        short, of_255 = f"{self.eps:.4g}", self.eps * 255
        whole = abs(of_255 - round(of_255)) < 1e-3 and 1 <= round(of_255) < 255
        written = f"{round(of_255)}/255" if whole and len(short) > 5 else short
        return f"{self.norm} {written}"

    def holds(self, sizes: Tensor) -> Tensor:
        """Tell which lengths (N,) in this norm are within the radius, (N,) bool."""
        limit = torch.as_tensor(torch.inf if self.eps is None else self.eps, dtype=torch.float64)
        return sizes.double() <= limit * (1 + ROUNDING)


def budget_of(attack: Any) -> Budget | None:
    """Return what an attack is held to, by its `norm` and `eps`; None for nothing.

    An attack with a norm and without a radius looks for the smallest change. The whole range of
    pixels is no budget. A substitute is held to what the attack on it is.
    """
    attack = getattr(attack, "attack", attack)
    norm, eps = getattr(attack, "norm", None), getattr(attack, "eps", None)
    if norm is None:
        return None
    if isinstance(eps, Tensor):
        radii = [_rounded(radius) for radius in eps.flatten().tolist()]
        eps = radii[0] if len(set(radii)) == 1 else tuple(radii)
    elif eps is not None:
        eps = _rounded(eps)
    whole = norm == "linf" and isinstance(eps, float) and eps >= 1
    return None if whole else Budget(norm, eps)


def _rounded(eps: float) -> float:
    return float(f"{float(eps):.{DIGITS}g}")
