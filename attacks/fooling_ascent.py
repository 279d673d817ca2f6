"""Gradient ascent on noise, with a decay that keeps values near grey."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from attacks.goal import Goal, value_and_gradient
from attacks.pgd import Best
from attacks.randomness import uniform
from attacks.threat import Threat

GREY = 0.5


@dataclass
class Ascent:
    """Images on their way up the gradient of a goal's value.

    Attributes:
        x_adv: where they are, (B, C, ...) in [0, 1].
        gradient: of the value there; zero before the first look.
        record: the best so far.
        step_size: root mean square change of a value in a step.
        decay: share of its distance to grey that a value loses in a step.
    """

    x_adv: Tensor
    gradient: Tensor
    record: Best
    step_size: float
    decay: float
    cost: int = 1  # forward passes in a step

    @classmethod
    def of_noise(
        cls, x: Tensor, generators: Sequence[torch.Generator], *, step_size: float, decay: float
    ) -> "Ascent":
        """Begin with uniform noise for each sample of x (B, C, ...)."""
        noise = (uniform(x, generators) + 1) / 2  # (B, C, ...) in [0, 1]
        return cls(noise, torch.zeros_like(noise), Best.start(noise), step_size, decay)

    @property
    def best(self) -> Tensor:
        """The best image of each sample, (B, C, ...)."""
        return self.record.x_adv

    def step(self, model: nn.Module, goal: Goal, *, number: int, done: Tensor) -> Tensor:
        """Move, unless this is step 0, and look; samples that are `done` (B,) stay as they are.

        Returns:
            The best value of each sample, (B,), NaN as long as there was none.

        Source: Simonyan et al. 2014, eq. (1), the l2 term as a decay.
        """
        if number:
            still = done.reshape(-1, *[1] * (self.x_adv.ndim - 1))  # (B, 1, ...)
            self.x_adv = torch.where(still, self.x_adv, self._moved())
        logits, value, self.gradient = value_and_gradient(model, self.x_adv, goal.value)
        self.record.update(self.x_adv, goal, logits=logits, value=value)
        return self.record.value

    def _moved(self) -> Tensor:
        """Return the next images, (B, C, ...) in [0, 1]."""
        threat = Threat.around(self.x_adv, norm="l2", eps=0.0)  # for its idea of a direction
        length = self.step_size * math.sqrt(self.x_adv[0].numel())
        decayed = GREY + (1 - self.decay) * (self.x_adv - GREY)
        return (decayed + length * threat.ascent(self.gradient)).clamp(0, 1)
