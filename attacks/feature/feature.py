"""Feature adversaries: as near as possible to a guide's representation, within a budget."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from attacks.attack import AttackResult, Norm
from attacks.common.batch_attack import Call
from attacks.common.options import BelowOne, Count, Positive, Text
from attacks.common.threat import Threat
from attacks.feature.box_descent import descend_in_box
from attacks.feature.box_lbfgs import minimise_in_box
from attacks.feature.feature_distance import FeatureDistance, feature_result
from attacks.feature.guided_attack import GuidedAttack


@dataclass(frozen=True)
class FeatureAdversary(GuidedAttack):
    """Minimise the distance from a guide's representation, within a box around the source.

    The perturbed sample looks like the source, and to the layers above like the guide. `loss` and
    `history` are the squared distance; of several layers the sum of the squared distances, each as
    a share of that between source and guide. `info` holds "layer", and "distance_ratio" (B,), the
    distance that is left as a share of that between source and guide, d(x, g) / d(s, g).

    Args:
        layer: whose output, as `named_modules()` has it, or several as LAYER+LAYER. None: the last
            but one that is called, mostly what the last linear layer reads.
        eps: largest change of a value, in pixel units, a number or one a sample (B,).
        steps: gradient steps; of "lbfgsb" at most so many iterations.
        solver: "momentum", signs of a running sum of gradients, all samples at once; "lbfgsb", the
            paper's: SciPy's L-BFGS-B, sample by sample on the CPU, for reference.
        step_size: of the first step of "momentum", from which steps shorten to 0; None: eps / 2.
        decay: what "momentum" keeps of the sum at each step.

    Source: Sabour et al. 2016, eqs. (1) and (2); eps of 5/255 to 25/255, at most 500 iterations.
    """

    layer: Text | None = None
    eps: float | Tensor = 10 / 255
    steps: Count = 110
    solver: Literal["momentum", "lbfgsb"] = "momentum"
    step_size: Positive | None = None
    decay: BelowOne = 0.9

    norm: ClassVar[Norm] = "linf"
    draws: ClassVar[bool] = False

    def perturb(self, call: Call) -> AttackResult:
        """Lead x to the guides' representation. Nothing here is random."""
        distance = FeatureDistance.of(call, self.layer)
        threat = Threat.around(call.x, norm=self.norm, eps=self.eps)
        if self.solver == "lbfgsb":
            found = minimise_in_box(
                lambda row, x: distance.of_sample(row).value_and_gradient(x),
                threat,
                steps=self.steps,
                progress=call.progress,
            )
        else:
            found = descend_in_box(
                distance.value_and_gradient,
                threat,
                steps=self.steps,
                step_size=self.step_size,
                decay=self.decay,
                progress=call.progress,
            )
        return feature_result(call, distance, found)
