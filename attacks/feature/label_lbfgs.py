"""To a guide's class within a box by L-BFGS-B: the paper's label-opt."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from attacks.attack import AttackResult, Norm
from attacks.common.active_set import index_rows
from attacks.common.batch_attack import Call
from attacks.common.best_by_loss import verify
from attacks.common.goal import value_and_gradient, without_slope
from attacks.common.options import Count
from attacks.common.threat import Threat
from attacks.feature.box_lbfgs import minimise_in_box
from attacks.feature.guided_attack import GuidedAttack, goal_of_guide


@dataclass(frozen=True)
class LabelLBFGS(GuidedAttack):
    """Minimise the cross-entropy of the class that the guide is taken for, in a box.

    SciPy's L-BFGS-B goes sample by sample. Without a target given any class but y counts as
    success; a target takes the place of the guide's class. `info["target"]` holds the class that
    was pursued.

    Args:
        eps: largest change of a value, in pixel units, a number or one a sample (B,).
        steps: at most so many iterations.

    Source: Sabour et al. 2016 (label-opt), after Szegedy et al. 2014, but in the box of
    the feature adversaries that it is compared with.
    """

    eps: float | Tensor = 10 / 255
    steps: Count = 100

    norm: ClassVar[Norm] = "linf"
    draws: ClassVar[bool] = False

    def perturb(self, call: Call) -> AttackResult:
        """Minimise the loss of each sample. Nothing here is random."""
        goal = goal_of_guide(call)
        threat = Threat.around(call.x, norm=self.norm, eps=self.eps)

        def loss(row: int, x: Tensor) -> tuple[Tensor, Tensor]:
            own = index_rows(goal, call.y.new_tensor([row]))
            _, value, gradient = value_and_gradient(call.forward, x, own.objective)
            return -value, -gradient

        found = minimise_in_box(loss, threat, steps=self.steps, progress=call.progress)
        result = verify(
            call,
            found.x,
            goal,
            queries=found.queries + goal.any_class,
            random=call.random,
            history=found.history,
            stuck=without_slope(found.gradient) & found.value.isfinite(),
            info={"target": goal.target},
        )
        return replace(result, loss=found.value.masked_fill(result.loss.isnan(), torch.nan))
