"""The fast gradient sign method."""

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.attack import AttackResult, Norm
from attacks.common.batch_attack import BatchAttack, Call
from attacks.common.forward import TRIED, is_random
from attacks.common.goal import (
    Goal,
    LossName,
    logits_of,
    value_and_gradient,
    warnings_of,
    without_slope,
)
from attacks.common.threat import Threat


@dataclass(frozen=True)
class FGSM(BatchAttack):
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

    def perturb(self, call: Call) -> AttackResult:
        """Take one gradient step. Nothing here is random."""
        model, x, goal = call.model, call.x, Goal(call.y, call.target, self.loss)
        threat = Threat.around(x, norm=self.norm, eps=self.eps)
        clean, before, gradient = value_and_gradient(model, x, goal.objective)
        x_adv = threat.project(x + threat.ascent(gradient, length=threat.eps))
        with torch.no_grad():
            logits = logits_of(model, x_adv)
        finite = torch.isfinite(logits).all(1)
        value = goal.objective(logits).masked_fill(~finite, torch.nan)
        # Of two passes nothing makes up for a look at what would make them quicker.
        random = is_random(model, x[:TRIED], usual=clean if len(x) <= TRIED else None, repeats=1)
        call.progress(1, 1)
        return AttackResult(
            x=x,
            x_adv=x_adv,
            success=goal.is_adversarial(logits),
            already=goal.is_adversarial(clean),
            queries=torch.full_like(goal.y, 2),
            loss=goal.as_loss(value),
            history=goal.as_loss(before)[None],  # (1, B)
            info=warnings_of(
                goal,
                clean,
                finite=finite,
                stuck=without_slope(gradient) & finite & ~goal.is_adversarial(clean),
                random=random,
            ),
        )
