"""Universal perturbations: one for all samples, fitted to some of them."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from torch import nn

from attacks.attack import Progress
from attacks.common.frozen import frozen
from attacks.common.options import check_kinds
from attacks.common.threat import Norm, check_norm, check_radius
from attacks.universal.fitting import (
    Keep,
    Loader,
    Samples,
    Snapshot,
    check_target,
    fitted_in_passes,
)
from attacks.universal.perturbation import Perturbation
from attacks.universal.universal_fit import UniversalFit

Solver = Literal["gradient", "deepfool"]


@dataclass(frozen=True)
class UniversalPerturbation:
    """Options of a fit that gives one perturbation for all samples, a `Perturbation`.

    Both solvers go through the samples again and again and keep the perturbation in the ball.
    "deepfool" takes the samples one by one: each that is not fooled yet adds its own smallest
    l2 perturbation, or the first part of it where that is long beside the ball. "gradient" adds,
    for each batch, a step along the gradient of the mean bounded cross entropy, with momentum:
    faster, and stronger in a small ball. The steps of both shrink from pass to pass.

    Args:
        norm: "linf", "l2" or "l1".
        eps: radius in pixel units.
        target_rate: stop once so large a share of the samples is fooled, above 0 up to 1.
        solver: "gradient" or "deepfool".
        passes: at most so many times through the samples; the best pass is kept.
        target: the class to reach; None for any class but the model's own answer.

    Source: Moosavi-Dezfooli et al. 2017, algorithm 1, there without a limit to a sample's step;
    for "gradient" Shafahi et al. 2020, section 3, here with momentum.
    """

    norm: Norm = "linf"
    eps: float = 8 / 255
    target_rate: float = 0.8
    solver: Solver = "gradient"
    passes: int = 10
    target: int | None = None

    def __post_init__(self) -> None:
        """Refuse impossible options at once."""
        check_kinds(self)
        check_norm(self.norm)
        check_radius(self.norm, self.eps)
        check_target(self.target)
        if self.solver not in get_args(Solver):
            raise ValueError(f"solver is {self.solver!r}; allowed: {', '.join(get_args(Solver))}")
        if not 0 <= self.eps < math.inf:
            raise ValueError(f"eps is {self.eps}; give a finite number >= 0")
        if not 0 < self.target_rate <= 1:
            raise ValueError(f"target_rate is {self.target_rate}; give a share above 0, up to 1")
        if self.passes < 1:
            raise ValueError(f"passes is {self.passes}; give a number >= 1")

    def fit(
        self,
        model: nn.Module,
        loader: Loader,
        *,
        seed: int = 0,
        progress: Progress | None = None,
        state: Snapshot | None = None,
        keep: Keep | None = None,
    ) -> Perturbation:
        """Fit a perturbation; see `Fittable.fit`. Nothing is random: the loader gives the order.

        Returns:
            The perturbation; its `history` holds the "fooling_rate" after each pass: the share
            of the samples whose answer changed or, with a target, is the target.
        """
        with frozen(model):
            fit = UniversalFit(self, model, Samples.of(loader, model))
            history = fitted_in_passes(
                fit, passes=self.passes, progress=progress, state=state, keep=keep
            )
        return fit.perturbation(fit.best, history)
