"""Universal perturbations: one for all samples, fitted to some of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from attacks.attack import Norm, Progress, lengths
from attacks.common.frozen import frozen
from attacks.common.goal import Goal, value_and_gradient
from attacks.common.options import check_kinds
from attacks.common.threat import Threat, check_norm, check_radius
from attacks.minimum_norm.deepfool import DeepFool
from attacks.universal.fitting import (
    FitCheckpoint,
    Loader,
    OnEpoch,
    Record,
    SampleLoader,
    check_target,
    run_epochs,
)
from attacks.universal.perturbation import Perturbation
from attacks.universal.transfer import could_be_fooled, is_fooled, predict_labels

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
        checkpoint: FitCheckpoint | None = None,
        on_epoch: OnEpoch | None = None,
    ) -> Perturbation:
        """Fit a perturbation; see `Fittable.fit`. Nothing is random: the loader gives the order.

        Returns:
            The perturbation; its `history` holds the "fooling_rate" after each pass: the share
            of the samples whose answer changed or, with a target, is the target.
        """
        with frozen(model):
            fit = UniversalFit(self, model, SampleLoader.of(loader, model))
            history = run_epochs(
                fit, passes=self.passes, progress=progress, checkpoint=checkpoint, on_epoch=on_epoch
            )
        return fit.perturbation(fit.best, history)


_GREY = 0.5
_STEP = 0.25  # of "gradient": share of eps that the first step takes
_MOMENTUM = 0.9
# Of "gradient": who has so large a loss for the label is fooled, and adds nothing. The loss for a
# target falls to 0 by itself.
_BOUND = 3.0
_STRIDE = 0.1  # of "deepfool": share of the ball's l2 radius that a sample moves at most
_MINIMAL = DeepFool(norm="l2", steps=10)  # of "deepfool": the step of one sample


class UniversalFit:
    """A perturbation on its way, kept as an image: grey plus half the perturbation.

    A perturbation within [-1, 1] makes an image within [0, 1], for which `Threat` knows the ball
    and the steps; lengths there are half as large.
    """

    def __init__(
        self, options: UniversalPerturbation, model: nn.Module, samples: SampleLoader
    ) -> None:
        """Begin with no perturbation."""
        self.options, self.model, self.samples = options, model, samples
        grey = torch.full_like(samples.like()[:1], _GREY)  # (1, C, ...)
        self.threat = Threat.around(grey, norm=options.norm, eps=options.eps / 2)
        self.image, self.best = grey.clone(), grey.clone()
        self.rate = torch.full((), -1.0, dtype=torch.float64)
        self.momentum = torch.zeros_like(grey)

    def run_epoch(self, number: int) -> Record:
        """Go through the samples once; remember the perturbation if it fools more than before."""
        left = 1 - number / self.options.passes
        for x in self.samples:
            if self.options.solver == "deepfool":
                self._add_smallest(x, _STRIDE * left)
            else:
                self._climb(x, _STEP * left)
        rate, could = self._fooling_rate()
        if rate > float(self.rate):
            self.best, self.rate = self.image.clone(), torch.full_like(self.rate, rate)
        return {"fooling_rate": rate, "attackable": could}

    def should_stop(self, record: Record) -> bool:
        """Tell whether the wanted share of samples is fooled."""
        return record["fooling_rate"] >= self.options.target_rate

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state."""
        names = ("image", "best", "rate", "momentum")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Take over a state."""
        for name, tensor in tensors.items():
            setattr(self, name, tensor.to(getattr(self, name)))

    def perturbation(self, image: Tensor, history: list[Record]) -> Perturbation:
        """Return the perturbation that an image (1, C, ...) stands for."""
        delta = 2 * (image - _GREY)[0]  # (C, ...)
        norm, eps = self.options.norm, self.options.eps
        return Perturbation(delta, norm, eps, target=self.options.target, history=tuple(history))

    def _applied(self, x: Tensor) -> Tensor:
        return self.perturbation(self.image, []).apply(x)

    def _add_smallest(self, x: Tensor, share: float) -> None:
        """Let each sample of x (B, ...) that is not fooled add its smallest perturbation.

        It adds a share of the ball's radius at most, for in a small ball full perturbations undo
        those of other samples. All lengths here are in l2, as the perturbations are.
        """
        sides = x[0].numel() if self.options.norm == "linf" else 1
        limit = share * self.options.eps * math.sqrt(sides)
        before = predict_labels(self.model, x)
        fooled = self._fooled(before, predict_labels(self.model, self._applied(x)))
        for row in (~fooled & (before >= 0)).nonzero():
            here, label = self._applied(x[row]), before[row]
            # A sample that an earlier one of the batch has brought to be fooled adds nothing.
            delta = _MINIMAL(self.model, here, label, target=self._wanted(label)).delta
            length = lengths(delta, "l2").clamp_min(torch.finfo(delta.dtype).tiny)
            part = (limit / length).clamp_max(1).reshape(self.threat.eps.shape)
            self.image = self.threat.project(self.image + part * delta / 2)

    def _climb(self, x: Tensor, share: float) -> None:
        """Take a step of a share of eps that raises the mean loss of x (B, ...)."""
        before = predict_labels(self.model, x)
        goal = Goal(before.clamp_min(0), self._wanted(before))

        def bounded(logits: Tensor) -> Tensor:
            return goal.objective(logits).clamp_max(_BOUND)  # (B,)

        _, _, gradient = value_and_gradient(self.model, self._applied(x), bounded)
        # What the range of pixels cuts off does not move with the perturbation.
        moved = x + 2 * (self.image - _GREY)
        gradient = gradient.nan_to_num(0, 0, 0) * ((moved >= 0) & (moved <= 1))
        mean = gradient.mean(0, keepdim=True)  # (1, C, ...)
        size = lengths(mean, "l1").clamp_min(torch.finfo(mean.dtype).tiny)
        self.momentum = _MOMENTUM * self.momentum + mean / size.reshape(self.threat.eps.shape)
        length = share * self.options.eps / 2
        step = self.threat.ascent(self.momentum, at=self.image, length=length)
        self.image = self.threat.project(self.image + step)

    def _fooling_rate(self) -> tuple[float, int]:
        """Return the share that the perturbation fools of the samples it could, and their number.

        The share is 0 where there are none.
        """
        fooled, could = 0, 0
        for x in self.samples:
            before, after = (
                predict_labels(self.model, x),
                predict_labels(self.model, self._applied(x)),
            )
            open_ = could_be_fooled(before, self.options.target)
            fooled += int((open_ & self._fooled(before, after)).sum())
            could += int(open_.sum())
        return fooled / max(could, 1), could

    def _fooled(self, before: Tensor, after: Tensor) -> Tensor:
        """Return which answers (B,) changed, or are the target."""
        return is_fooled(before, after, self.options.target)

    def _wanted(self, labels: Tensor) -> Tensor | None:
        return None if self.options.target is None else torch.full_like(labels, self.options.target)
