"""Universal perturbations: one for all samples, fitted to some of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from attacks.attack import Norm, lengths
from attacks.common.goal import value_and_gradient
from attacks.common.options import Count, Natural, NonNegative, Share
from attacks.common.threat import Threat
from attacks.minimum_norm.deepfool import DeepFool
from attacks.universal.fitting import EpochFit, FitByEpochs
from attacks.universal.perturbation import Perturbation
from attacks.universal.sample_loader import SampleLoader
from attacks.universal.saved_attack import Record
from attacks.universal.transfer import (
    could_be_fooled,
    goal_from_predictions,
    is_fooled,
    predict_labels,
)

Solver = Literal["gradient", "deepfool"]


@dataclass(frozen=True)
class UniversalPerturbation(FitByEpochs[Perturbation]):
    """Fit one perturbation in a norm ball to all samples.

    "deepfool" visits the samples one by one: to each that is not fooled yet it adds that sample's
    minimum l2 perturbation, shortened to a share of the ball. "gradient" takes one step with
    momentum for each batch, along the gradient of the mean bounded cross entropy: faster, and
    stronger in a small ball. The steps of both shrink from epoch to epoch. Nothing is random: the
    loader gives the order.

    `fit` returns the `Perturbation` of the best epoch. Each record of its `history` holds
    "fooling_rate", the share of attackable samples that the perturbation fools after the epoch,
    and "attackable", their number.

    Args:
        norm: "linf", "l2" or "l1".
        eps: radius in pixel units.
        target_rate: fooling rate, above 0 up to 1, at which the fit stops.
        solver: "gradient" or "deepfool".
        passes: largest number of epochs.
        target: class to reach; None for any class but the clean prediction.

    Source: Moosavi-Dezfooli et al. 2017, algorithm 1, there without a limit on a sample's step;
    for "gradient" Shafahi et al. 2020, section 3, here with momentum.
    """

    norm: Norm = "linf"
    eps: NonNegative = 8 / 255
    target_rate: Share = 0.8
    solver: Solver = "gradient"
    passes: Count = 10
    target: Natural | None = None

    def start_fit(self, model: nn.Module, samples: SampleLoader, *, seed: int) -> UniversalFit:
        """Return the fit with a perturbation of zeros; the seed is not used."""
        return UniversalFit(self, model, samples)


_GREY = 0.5
_STEP = 0.25  # of "gradient": first step as a share of eps
_MOMENTUM = 0.9
# Of "gradient": a sample with a larger loss for its label is fooled, and its gradient is zero. A
# loss for a target falls to 0 by itself.
_BOUND = 3.0
_STRIDE = 0.1  # of "deepfool": largest step of a sample as a share of the ball's l2 radius
_MINIMAL = DeepFool(norm="l2", steps=10)  # of "deepfool": the step of one sample


class UniversalFit(EpochFit[Perturbation]):
    """A perturbation in progress, stored as an image: grey plus half the perturbation.

    A perturbation in [-1, 1] gives an image in [0, 1], whose ball and steps `Threat` computes;
    lengths are halved there.
    """

    def __init__(
        self, options: UniversalPerturbation, model: nn.Module, samples: SampleLoader
    ) -> None:
        """Begin with a perturbation of zeros."""
        self.options, self.model, self.samples = options, model, samples
        grey = torch.full_like(samples.like()[:1], _GREY)  # (1, C, ...)
        self.threat = Threat.around(grey, norm=options.norm, eps=options.eps / 2)
        self.image, self.best = grey.clone(), grey.clone()
        self.rate = torch.full((), -1.0, dtype=torch.float64)
        self.momentum = torch.zeros_like(grey)

    def run_epoch(self, epoch: int) -> Record:
        """Update the perturbation with every sample; store it when its fooling rate is highest."""
        left = 1 - epoch / self.options.passes
        for x in self.samples:
            if self.options.solver == "deepfool":
                self._add_minimal(x, _STRIDE * left)
            else:
                self._ascend(x, _STEP * left)
        rate, attackable = self._fooling_rate()
        if rate > float(self.rate):
            self.best, self.rate = self.image.clone(), torch.full_like(self.rate, rate)
        return {"fooling_rate": rate, "attackable": attackable}

    def should_stop(self, record: Record) -> bool:
        """Tell whether the fooling rate has reached `target_rate`."""
        return record["fooling_rate"] >= self.options.target_rate

    def state_dict(self) -> dict[str, Tensor]:
        """Return the image, the best image, its fooling rate, and the momentum."""
        return {name: getattr(self, name) for name in ("image", "best", "rate", "momentum")}

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Continue from the tensors of an earlier `state_dict`."""
        for name, tensor in tensors.items():
            setattr(self, name, tensor.to(getattr(self, name)))

    def result(self, history: tuple[Record, ...]) -> Perturbation:
        """Return the perturbation with the highest fooling rate."""
        return self._perturbation(self.best, history)

    def _perturbation(self, image: Tensor, history: tuple[Record, ...] = ()) -> Perturbation:
        """Return the perturbation that an image (1, C, ...) stands for."""
        delta = 2 * (image - _GREY)[0]  # (C, ...)
        return Perturbation(
            delta, self.options.norm, self.options.eps, self.options.target, history
        )

    def _apply(self, x: Tensor) -> Tensor:
        """Return the samples x (B, ...) with the present perturbation."""
        return self._perturbation(self.image).apply(x)

    def _add_minimal(self, x: Tensor, share: float) -> None:
        """Add the minimum l2 perturbation of each sample of x (B, ...) that is not fooled.

        Each is shortened to a share of the ball's l2 radius: in a small ball, whole perturbations
        undo those of other samples.
        """
        sides = x[0].numel() if self.options.norm == "linf" else 1
        limit = share * self.options.eps * math.sqrt(sides)
        before, target = predict_labels(self.model, x), self.options.target
        fooled = is_fooled(before, predict_labels(self.model, self._apply(x)), target)
        for row in (~fooled & (before >= 0)).nonzero():
            x_adv, goal = self._apply(x[row]), goal_from_predictions(before[row], target)
            # DeepFool returns zeros for a sample that an earlier row's update already fools.
            delta = _MINIMAL(self.model, x_adv, goal.y, target=goal.target).delta
            length = lengths(delta, "l2").clamp_min(torch.finfo(delta.dtype).tiny)
            part = (limit / length).clamp_max(1).reshape(self.threat.eps.shape)
            self.image = self.threat.project(self.image + part * delta / 2)

    def _ascend(self, x: Tensor, share: float) -> None:
        """Raise the mean bounded loss of x (B, ...) by one step of a share of eps."""
        goal = goal_from_predictions(predict_labels(self.model, x), self.options.target)

        def bounded(logits: Tensor) -> Tensor:
            return goal.objective(logits).clamp_max(_BOUND)  # (B,)

        _, _, gradient = value_and_gradient(self.model, self._apply(x), bounded)
        # A pixel that is clipped at 0 or 1 does not change with the perturbation.
        moved = x + 2 * (self.image - _GREY)
        gradient = gradient.nan_to_num(0, 0, 0) * ((moved >= 0) & (moved <= 1))
        mean = gradient.mean(0, keepdim=True)  # (1, C, ...)
        size = lengths(mean, "l1").clamp_min(torch.finfo(mean.dtype).tiny)
        self.momentum = _MOMENTUM * self.momentum + mean / size.reshape(self.threat.eps.shape)
        length = share * self.options.eps / 2
        step = self.threat.ascent(self.momentum, at=self.image, length=length)
        self.image = self.threat.project(self.image + step)

    def _fooling_rate(self) -> tuple[float, int]:
        """Return the share of attackable samples that are fooled, 0 if none, and their number."""
        fooled, attackable, target = 0, 0, self.options.target
        for x in self.samples:
            before = predict_labels(self.model, x)
            after = predict_labels(self.model, self._apply(x))
            attacked = could_be_fooled(before, target)
            fooled += int((attacked & is_fooled(before, after, target)).sum())
            attackable += int(attacked.sum())
        return fooled / max(attackable, 1), attackable
