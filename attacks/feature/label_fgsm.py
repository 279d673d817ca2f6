"""One step towards a guide's class: the paper's label-fgrad."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attacks.attack import AttackResult, Norm
from attacks.common.batch_attack import Call
from attacks.common.best_by_loss import verify
from attacks.common.goal import value_and_gradient, without_slope
from attacks.common.threat import Threat
from attacks.feature.guided_attack import GuidedAttack, goal_of_guide


@dataclass(frozen=True)
class LabelFGSM(GuidedAttack):
    """Take one step of length eps down the cross-entropy of the class that the guide is taken for.

    Without a target given any class but y counts as success; a target takes the place of the
    guide's class. `info["target"]` holds the class that was pursued.

    Args:
        eps: length of the step, in pixel units, a number or one a sample (B,).
        eot, bpda: for random models and layers without a gradient, see `GradientAttack`.

    Source: Sabour et al. 2016, section 4 (label-fgrad), after Goodfellow et al. 2015.
    """

    eps: float | Tensor = 10 / 255

    norm: ClassVar[Norm] = "linf"
    draws: ClassVar[bool] = False

    def perturb(self, call: Call) -> AttackResult:
        """Take the step. Nothing here is random."""
        goal = goal_of_guide(call)
        threat = Threat.around(call.x, norm=self.norm, eps=self.eps)
        _, before, gradient = value_and_gradient(call.forward, call.x, goal.objective)
        x_adv = threat.project(call.x + threat.ascent(gradient, length=threat.eps))
        call.progress(1, 1)
        return verify(
            call,
            x_adv,
            goal,
            queries=torch.full_like(call.y, 1 + goal.any_class),
            random=call.random,
            history=goal.as_loss(before)[None],  # (1, B)
            stuck=without_slope(gradient) & before.isfinite(),
            info={"target": goal.target},
        )
