"""The fast minimum-norm attack: gradient steps in a ball that settles on the boundary."""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from attacks.attack import AttackResult, Norm, lengths
from attacks.common.active_set import ActiveSet
from attacks.common.batch_attack import Call, GradientAttack
from attacks.common.goal import Classifier, Goal, value_and_gradient
from attacks.common.options import Count, Positive, inside
from attacks.common.threat import Threat, column
from attacks.minimum_norm.best_by_norm import BestByNorm
from attacks.minimum_norm.nearest_boundary import distance, nearest_boundary

_LAST_STEP_SIZE, _LAST_GAMMA = 1e-5, 1e-3  # of the cosine schedules; the former as a share
_AIMED = 0.25  # share of the steps that go to the nearest boundary


@dataclass(frozen=True)
class FMN(GradientAttack):
    """Gradient steps, each projected to a ball around x whose radius follows the boundary.

    Where the goal is met the ball shrinks below the smallest norm so far; where it is not, the
    ball grows, at first to where the linearised margin would vanish. Both step and change of the
    radius fall off along half a cosine. Four changes to the paper, which found no success for
    some samples and long ways in l1: the first steps are to the nearest linearised boundary, not
    to the likeliest class; the radius grows by `gamma` at least; it shrinks to the linearised
    boundary where that is further in, by no more than a half; the step is a share of the radius,
    so that no scale has to be known.

    Args:
        norm: "linf", "l2" or "l1", the one to be small.
        steps: gradient steps.
        step_size: of the first step: its l2 length over the radius; for linf the root of its
            mean square over the radius.
        gamma: by which share the radius changes at first, in (0, 1).

    Source: Pintor et al. 2021, algorithm 1.
    """

    norm: Norm = "l2"
    steps: Count = 100
    step_size: Positive = 1.0
    gamma: Annotated[float, inside(0, 1)] = 0.05

    draws: ClassVar[bool] = False

    def perturb(self, call: Call) -> AttackResult:
        """Step within balls whose radii follow the boundary. Nothing here is random."""
        history = []
        state = self._start(call)
        active = ActiveSet(state, torch.arange(len(call.x), device=call.x.device))
        active.drop(state.closest.success)  # those that were wrong before
        for step in range(self.steps):
            losses = active.now.closest.goal.as_loss(active.now.value)
            history.append(active.spread(losses, absent=torch.nan))
            if len(active.rows):
                self._step(call.forward, active.now, step)
            call.progress(step + 1, self.steps)
        end = active.everything()
        return end.closest.result(call, torch.stack(history))  # (steps, B)

    def _start(self, call: Call) -> "_FMNState":
        x, goal = call.x, Goal(call.y, call.target, "margin")
        found = nearest_boundary(call.forward, x, goal, norm=self.norm)
        closest = BestByNorm.start(x, found.logits, goal=goal, norm=self.norm)
        closest.note_slope(found.gradient)
        return _FMNState(
            closest=closest,
            aim=found.aim(goal),
            x_adv=x,
            eps=torch.zeros_like(found.gap),
            value=closest.value,
            gap=found.gap,
            gradient=found.gradient,
            met=closest.success,
        )

    def _step(self, model: Classifier, state: "_FMNState", step: int) -> None:
        """Adapt the radius of each ball, step within the ball, and evaluate the new iterate."""
        cosine = (1 + math.cos(math.pi * step / self.steps)) / 2  # from 1 towards 0
        state.eps = self._radius(state, _LAST_GAMMA + (self.gamma - _LAST_GAMMA) * cosine)
        closest = state.closest
        eps = column(state.eps, state.x_adv)  # (A, 1, ..., 1)
        length = self.step_size * (_LAST_STEP_SIZE + (1 - _LAST_STEP_SIZE) * cosine) * eps
        if self.norm == "linf":
            length = length * math.sqrt(state.x_adv[0].numel())
        ahead = Threat(closest.x, "l2", eps).ascent(state.gradient, length=length)
        state.x_adv = Threat(closest.x, self.norm, eps).project(state.x_adv + ahead)
        goal = state.aim if step < self.steps * _AIMED else closest.goal
        logits, value, state.gradient = value_and_gradient(model, state.x_adv, goal.objective)
        state.value, state.gap = closest.goal.objective(logits), -value
        state.met = closest.update(state.x_adv, logits)
        closest.note_slope(state.gradient)

    def _radius(self, state: "_FMNState", gamma: float) -> Tensor:
        """Return the next radius of each ball, (A,)."""
        eps, closest = state.eps, state.closest
        # How far the linearised boundary is: ahead of the sample, or behind it when negative.
        way = distance(state.gradient.nan_to_num(0, 0, 0), state.gap, self.norm)
        way = way.nan_to_num(0, 0, 0)
        grown = eps * (1 + gamma)
        grown = torch.where(closest.success, grown, torch.maximum(grown, eps + way))
        shrunk = torch.minimum(eps * (1 - gamma), (eps + way).maximum(eps / 2))
        radius = torch.where(state.met, shrunk.minimum(closest.size), grown)
        return radius.minimum(lengths(torch.ones_like(closest.x), self.norm))


@dataclass
class _FMNState:
    """State of each sample: `value` of the goal at x_adv, `gap` to the next boundary.

    The gradient is that of the lead across the boundary: at first that of `aim`, the nearest.
    """

    closest: BestByNorm
    aim: Goal
    x_adv: Tensor
    eps: Tensor
    value: Tensor
    gap: Tensor
    gradient: Tensor
    met: Tensor
