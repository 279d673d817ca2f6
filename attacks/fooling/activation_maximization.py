"""Activation maximisation: gradient ascent on noise, with a decay towards grey."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.common.best_by_loss import BestByLoss
from attacks.common.goal import Classifier, Goal, value_and_gradient, without_slope
from attacks.common.threat import Threat, column

GREY = 0.5


@dataclass
class ActivationMaximization:
    """The images of a batch in gradient ascent; a state of `ActiveSet`.

    Attributes:
        goal: its objective is raised.
        x_adv: the present images, (B, C, ...) in [0, 1].
        gradient: of the objective, like x_adv; zero before the first step.
        best: the best images so far.
        stuck: bool (B,), samples that met a zero gradient before the goal.
        step_size: root mean square change of a value in a step, in pixel units.
        decay: share of its distance to grey that a value loses in a step.
        cost: queries of a step.
    """

    goal: Goal
    x_adv: Tensor
    gradient: Tensor
    best: BestByLoss
    stuck: Tensor
    step_size: float
    decay: float
    cost: int = 1

    @property
    def image(self) -> Tensor:
        """The best image of each sample, (B, C, ...)."""
        return self.best.x_adv

    @property
    def value(self) -> Tensor:
        """The objective of the best image, (B,); NaN until some logits are finite."""
        return self.best.value

    def step(
        self, model: Classifier, number: int, generators: Sequence[torch.Generator], done: Tensor
    ) -> None:
        """Move the images and evaluate them; step 0 evaluates the noise.

        Args:
            model: the classifier.
            number: of the step, from 0.
            generators: not used.
            done: bool (B,), samples that do not move.

        Source: Simonyan et al. 2014, eq. (1), with its l2 term as a decay.
        """
        if number:
            stay = column(done, self.x_adv)  # (B, 1, ...)
            self.x_adv = torch.where(stay, self.x_adv, self._next())
        logits, value, self.gradient = value_and_gradient(model, self.x_adv, self.goal.objective)
        self.best.update(self.x_adv, self.goal, logits=logits, value=value)
        self.stuck = self.stuck | (without_slope(self.gradient) & ~self.best.success)

    def _next(self) -> Tensor:
        """Return the next images, (B, C, ...) in [0, 1]."""
        threat = Threat.around(self.x_adv, norm="l2", eps=0.0)  # for the direction of its steps
        length = self.step_size * math.sqrt(self.x_adv[0].numel())
        decayed = GREY + (1 - self.decay) * (self.x_adv - GREY)
        return (decayed + threat.ascent(self.gradient, length=length)).clamp(0, 1)
