"""Gradient ascent on noise, with a decay that keeps values near grey."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.common.best_by_loss import BestByLoss
from attacks.common.goal import Classifier, Goal, value_and_gradient
from attacks.common.randomness import uniform
from attacks.common.threat import Threat, column
from attacks.common.warnings import without_slope

GREY = 0.5


@dataclass
class ActivationMaximization:
    """Images on their way up the gradient of a goal's value; a state that `active.take` knows.

    Attributes:
        goal: what is climbed.
        x_adv: where the images are, (B, C, ...) in [0, 1].
        gradient: of the value there, like x_adv; zero before the first step.
        best: the best images so far.
        stuck: which met a gradient that points nowhere before they met the goal, bool (B,).
        step_size: root mean square change of a value in a step.
        decay: share of its distance to grey that a value loses in a step.
        cost: images of each sample that the model sees in a step.
    """

    goal: Goal
    x_adv: Tensor
    gradient: Tensor
    best: BestByLoss
    stuck: Tensor
    step_size: float
    decay: float
    cost: int = 1

    @classmethod
    def of_noise(
        cls,
        goal: Goal,
        x: Tensor,
        generators: Sequence[torch.Generator],
        *,
        step_size: float,
        decay: float,
    ) -> "ActivationMaximization":
        """Begin with uniform noise for each sample of x (B, C, ...)."""
        noise = (uniform(x, generators) + 1) / 2  # (B, C, ...) in [0, 1]
        no = torch.zeros_like(goal.y, dtype=torch.bool)
        return cls(
            goal, noise, torch.zeros_like(noise), BestByLoss.start(noise), no, step_size, decay
        )

    @property
    def image(self) -> Tensor:
        """The best image of each sample, (B, C, ...)."""
        return self.best.x_adv

    @property
    def value(self) -> Tensor:
        """The goal's value there, (B,), NaN as long as there was none."""
        return self.best.value

    def step(
        self, model: Classifier, number: int, generators: Sequence[torch.Generator], done: Tensor
    ) -> None:
        """Move, unless this is step 0, and look; samples that are `done` (B,) stay where they are.

        Source: Simonyan et al. 2014, eq. (1), its l2 term as a decay; nothing here is random.
        """
        if number:
            here = column(done, self.x_adv)  # (B, 1, ...)
            self.x_adv = torch.where(here, self.x_adv, self._moved())
        logits, value, self.gradient = value_and_gradient(model, self.x_adv, self.goal.objective)
        self.best.update(self.x_adv, self.goal, logits=logits, value=value)
        self.stuck = self.stuck | (without_slope(self.gradient) & ~self.best.success)

    def _moved(self) -> Tensor:
        """Return the next images, (B, C, ...) in [0, 1]."""
        threat = Threat.around(self.x_adv, norm="l2", eps=0.0)  # for its idea of a direction
        length = self.step_size * math.sqrt(self.x_adv[0].numel())
        decayed = GREY + (1 - self.decay) * (self.x_adv - GREY)
        return (decayed + threat.ascent(self.gradient, length=length)).clamp(0, 1)
