"""One step towards a guide's representation: the paper's feat-fgrad."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attacks.attack import AttackResult, Norm
from attacks.common.batch_attack import Call
from attacks.common.options import Text
from attacks.common.threat import Threat
from attacks.feature.box_descent import BoxMinimum
from attacks.feature.feature_distance import FeatureDistance, feature_result
from attacks.feature.guided_attack import GuidedAttack


@dataclass(frozen=True)
class FeatureFGSM(GuidedAttack):
    """Take one step of length eps against the sign of the gradient of the squared distance.

    Args:
        layer: whose output, as `named_modules()` has it, or several as LAYER+LAYER; None: the last
            but one that is called. `loss` and `info` are those of `FeatureAdversary`.
        eps: length of the step, in pixel units, a number or one a sample (B,).

    Source: Sabour et al. 2016 (feat-fgrad), after Goodfellow et al. 2015.
    """

    layer: Text | None = None
    eps: float | Tensor = 10 / 255

    norm: ClassVar[Norm] = "linf"
    draws: ClassVar[bool] = False

    def perturb(self, call: Call) -> AttackResult:
        """Take the step. Nothing here is random."""
        distance = FeatureDistance.of(call, self.layer)
        threat = Threat.around(call.x, norm=self.norm, eps=self.eps)
        before, gradient = distance.value_and_gradient(call.x)
        x = threat.project(call.x - threat.ascent(gradient, length=threat.eps))
        call.progress(1, 1)
        queries = torch.full_like(call.y, 2)
        found = BoxMinimum(x, distance.value(x), gradient, before[None], queries)
        return feature_result(call, distance, found)
