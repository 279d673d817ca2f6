"""One step towards a guide's class: the paper's label-fgrad."""

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from attacks.attack import AttackResult, Norm
from attacks.common.batch_attack import Call
from attacks.feature.guided_attack import GuidedAttack, goal_of_guide
from attacks.gradient.fgsm import single_step


@dataclass(frozen=True)
class LabelFGSM(GuidedAttack):
    """Take one step of length eps down the cross-entropy of the class that the guide is taken for.

    Without a target given any class but y counts as success; a target takes the place of the
    guide's class. `info["target"]` holds the class that was pursued.

    Args:
        eps: length of the step, in pixel units, a number or one a sample (B,).

    Source: Sabour et al. 2016 (label-fgrad), after Goodfellow et al. 2015.
    """

    eps: float | Tensor = 10 / 255

    norm: ClassVar[Norm] = "linf"
    draws: ClassVar[bool] = False

    def perturb(self, call: Call) -> AttackResult:
        """Take the step. Nothing here is random."""
        goal = goal_of_guide(call)
        result = single_step(call, goal, norm=self.norm, eps=self.eps)
        return replace(
            result,
            queries=result.queries + goal.any_class,  # that of the guide
            info={"target": goal.target, **result.info},
        )
