"""The fast gradient sign method."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from attacks.attack import AttackResult, Norm
from attacks.common.batch_attack import Call, GradientAttack
from attacks.common.best_by_loss import BestByLoss, SearchState
from attacks.common.goal import Goal, LossName, detached_logits, value_and_gradient, without_slope
from attacks.common.threat import Threat


@dataclass(frozen=True)
class FGSM(GradientAttack):
    """One step of length eps along the gradient.

    For linf along its sign, for l2 along its direction, for l1 along its largest entries.

    Args:
        norm: "linf", "l2" or "l1".
        eps: length of the step in pixel units, a number or one a sample (B,).
        loss: "ce", "margin" or "dlr".

    Source: Goodfellow et al. 2015, section 4.
    """

    norm: Norm = "linf"
    eps: float | Tensor = 8 / 255
    loss: LossName = "ce"

    draws: ClassVar[bool] = False

    def perturb(self, call: Call) -> AttackResult:
        """Take one gradient step. Nothing here is random."""
        goal = Goal(call.y, call.target, self.loss)
        return single_step(call, goal, norm=self.norm, eps=self.eps)


def single_step(call: Call, goal: Goal, *, norm: Norm, eps: float | Tensor) -> AttackResult:
    """Step from x to the edge of the ball, along the gradient of a goal.

    Args:
        call: the samples, and the model.
        goal: its objective is raised.
        norm: of the ball.
        eps: its radius, a number or one a sample (B,).
    """
    call = replace(call, passes=2)
    forward, x = call.forward, call.x
    threat = Threat.around(x, norm=norm, eps=eps)
    clean, before, gradient = value_and_gradient(forward, x, goal.objective)
    x_adv = threat.project(x + threat.ascent(gradient, length=threat.eps))
    logits = detached_logits(forward, x_adv)
    best = BestByLoss.seen(x_adv, goal, logits=logits, value=goal.objective(logits))
    already = goal.is_adversarial(clean)
    stuck = without_slope(gradient) & best.finite & ~already
    call.progress(1, 1)
    state = SearchState(goal, best, torch.full_like(goal.y, 2), stuck, best.success)
    history = goal.as_loss(before)[None]  # (1, B)
    return state.result(call, already=already, logits=clean, random=call.random, history=history)
