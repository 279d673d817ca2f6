"""DeepFool: step by step to the nearest boundary of the linearised classifier."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from attacks.attack import AttackResult, Norm
from attacks.common.active_set import ActiveSet
from attacks.common.batch_attack import Call, GradientAttack
from attacks.common.goal import Classifier, Goal, detached_logits
from attacks.common.options import Count, NonNegative, at_least
from attacks.common.threat import column
from attacks.minimum_norm.best_by_norm import BestByNorm
from attacks.minimum_norm.nearest_boundary import (
    movable,
    nearest_boundary,
    shortest_step,
    straight_step,
)

# So many steps may leave what the range cuts off to the next one; where most pixels are at
# their ends that would never arrive.
_STRAIGHT = 10


@dataclass(frozen=True)
class DeepFool(GradientAttack):
    """A small perturbation without a ball, found in a few steps; a fooled sample is done.

    In each step the classifier is replaced by its linearisation, and the sample moves to the
    nearest of the linear boundaries between its label and the other classes, or between its
    target and the class now on top. Pixels stay in [0, 1]. Where that cuts a step short the next
    one makes up for it, from a linearisation of where the sample is by then; making up for it at
    once, on the old one, ended a tenth further away.

    Args:
        norm: "linf", "l2" or "l1", in which the nearest boundary is sought.
        steps: at most so many steps; each is two forward passes and `classes` - 1 backward ones.
        overshoot: the whole perturbation is this fraction longer, to get across the boundary.
        classes: how many classes are looked at in a step, the label among them: those with the
            highest logits. A targeted attack looks at two.

    Source: Moosavi-Dezfooli et al. 2016, algorithm 2; eq. (11) and (12) for the other norms.
    """

    norm: Norm = "l2"
    steps: Count = 50
    overshoot: NonNegative = 0.02
    classes: Annotated[int, at_least(2)] = 10

    draws: ClassVar[bool] = False

    def perturb(self, call: Call) -> AttackResult:
        """Step to the nearest boundary until it is crossed. Nothing here is random."""
        x, forward, goal = call.x, call.forward, Goal(call.y, call.target, "margin")
        logits = detached_logits(forward, x)
        closest = BestByNorm.start(x, logits, goal=goal, norm=self.norm)
        state = _DeepFoolState(closest, torch.zeros_like(x), closest.success)
        active = ActiveSet(state, torch.arange(len(x), device=x.device))
        for step in range(1, self.steps + 1):
            # A step is classes + 1 passes: worth waiting for the device each time.
            active.drop(active.now.done)
            if len(active.rows):
                self._step(forward, active.now, straight=step <= _STRAIGHT)
            call.progress(step, self.steps)
        end = active.everything()
        end.closest.stuck = end.done
        return end.closest.result(call)

    def _step(self, model: Classifier, state: "_DeepFoolState", *, straight: bool) -> None:
        """Move all samples that are not done; `straight`: whatever the range then cuts off."""
        x = state.closest.x
        here = self._overshot(x, state.delta)
        found = nearest_boundary(
            model, here, state.closest.goal, norm=self.norm, classes=self.classes
        )
        if self.norm == "l1":  # a straight step would move one pixel
            step = shortest_step(here, found.gradient, found.gap, self.norm)
        else:
            gradient = found.gradient if straight else movable(found.gradient, here)
            step = straight_step(gradient, found.gap, self.norm)
        step = step * ~column(state.done, x)
        state.delta = (x + state.delta + step).clamp(0, 1) - x
        here = self._overshot(x, state.delta)
        state.closest.update(here, detached_logits(model, here), passes=2 * ~state.done)
        # Without a gradient there is no next step.
        state.done = state.closest.success | ~found.gradient.flatten(1).any(1)

    def _overshot(self, x: Tensor, delta: Tensor) -> Tensor:
        return (x + (1 + self.overshoot) * delta).clamp(0, 1)


@dataclass
class _DeepFoolState:
    """State of each sample; delta is without the overshoot."""

    closest: BestByNorm
    delta: Tensor
    done: Tensor
