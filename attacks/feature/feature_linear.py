"""Towards a guide's representation as a linear model has it: the paper's feat-linear."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from attacks.attack import AttackResult, Norm
from attacks.common.batch_attack import Call
from attacks.common.options import BelowOne, Count, Positive, Text
from attacks.common.threat import Threat
from attacks.feature.box_descent import descend_in_box
from attacks.feature.feature_distance import FeatureDistance, feature_result
from attacks.feature.guided_attack import GuidedAttack


@dataclass(frozen=True)
class FeatureLinear(GuidedAttack):
    """Minimise the distance from a guide's representation as linearised around the source.

    phi(x) is taken for phi(s) + J (x - s). Neither J nor J' J is ever built: J v and J' u are
    products, by a second and a first derivative. `history` is the squared distance of the linear
    model; `loss` and `info["distance_ratio"]` are those of the classifier itself.

    Args:
        layer: whose output, as `named_modules()` has it, or several as LAYER+LAYER; None: the last
            but one that is called.
        eps: largest change of a value, in pixel units, a number or one a sample (B,).
        steps: products with J and its transpose.
        step_size: of the first step, from which steps shorten to 0; None: eps / 2.
        decay: what is kept of the sum of steps at each step.

    Source: Sabour et al. 2016 (feat-linear).
    """

    layer: Text | None = None
    eps: float | Tensor = 10 / 255
    steps: Count = 100
    step_size: Positive | None = None
    decay: BelowOne = 0.9

    norm: ClassVar[Norm] = "linf"
    draws: ClassVar[bool] = False

    def perturb(self, call: Call) -> AttackResult:
        """Minimise the linear model's distance in the box. Nothing here is random."""
        distance = FeatureDistance.of(call, self.layer)
        threat = Threat.around(call.x, norm=self.norm, eps=self.eps)
        found = descend_in_box(
            LinearisedDistance(distance, call.x).value_and_gradient,
            threat,
            steps=self.steps,
            step_size=self.step_size,
            decay=self.decay,
            progress=call.progress,
        )
        passes = torch.full_like(found.queries, 2)  # steps are products, not passes
        found = replace(found, value=distance.value(found.x), queries=passes)
        return feature_result(call, distance, found)


class LinearisedDistance:
    """A distance of representations, with the representation linearised around the sources."""

    def __init__(self, distance: FeatureDistance, source: Tensor) -> None:
        """Keep the graph of the representation of the sources (B, ...), of a random model's mean.

        Raises:
            ValueError: for a representation that cannot be differentiated twice.
        """
        self.distance = distance
        self.source = source.detach().requires_grad_()
        with sdpa_kernel(SDPBackend.MATH):  # others of its forms are differentiated once alone
            passes = zip(*(distance.phi(self.source) for _ in range(distance.passes)), strict=True)
        self.outputs = [torch.stack(layer).mean(0) for layer in passes]
        self.u = [torch.zeros_like(output).requires_grad_() for output in self.outputs]
        # J' u, linear in u: its derivative along u is J.
        (self.transposed,) = torch.autograd.grad(
            self.outputs, self.source, self.u, create_graph=True
        )
        if not self.transposed.requires_grad:
            raise ValueError(
                "the representation cannot be differentiated twice, as the linear model has to be: "
                "a checkpoint with use_reentrant=True, for one, can not; give use_reentrant=False"
            )

    def value_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the linear model's squared distance of x (B, ...), (B,), and its gradient."""
        moved = torch.autograd.grad(self.transposed, self.u, x - self.source, retain_graph=True)
        outputs = [
            (output.detach() + move).requires_grad_()
            for output, move in zip(self.outputs, moved, strict=True)
        ]
        value = self.distance.between(outputs)
        slopes = torch.autograd.grad(value.sum(), outputs)
        (gradient,) = torch.autograd.grad(self.outputs, self.source, slopes, retain_graph=True)
        return value.detach(), gradient.contiguous()
