"""Integrated gradients: what each pixel adds to the score on the way from a blank sample."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from attacks.common.goal import Classifier
from attacks.common.options import Count, between
from explain.class_scores import logit_gradient
from explain.method import ExplanationCall, ExplanationMethod


@dataclass(frozen=True)
class IntegratedGradients(ExplanationMethod):
    """The absolute sum over channels of the gradients on the line to a blank sample, integrated.

    Args:
        steps: points on the line; a pass each for the whole batch.
        baseline: the value of the blank sample's pixels, in [0, 1]; 0 is black. Pixels with that
            value are said to add nothing.

    Source: Sundararajan, Taly & Yan 2017, eq. (1).
    """

    steps: Count = 50
    baseline: Annotated[float, between(0, 1)] = 0.0

    def explain(self, call: ExplanationCall) -> Tensor:
        """Return |sum over channels of the attributions|, (B, H, W) or (B, T, H, W)."""
        attributions = integrated_gradients(
            call.forward,
            call.x,
            call.y,
            baseline=self.baseline,
            steps=self.steps,
            tell=call.progress,
        )
        return attributions.sum(1).abs()


def integrated_gradients(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    *,
    baseline: float,
    steps: int,
    tell: Callable[[int, int], object],
) -> Tensor:
    """Return what each value of x adds to the logit of class y, with its sign, (B, C, ...).

    They sum to the logit of x less that of the blank sample, but for the error of the integral.

    Args:
        model: the classifier, `frozen`.
        x: samples (B, C, ...) in [0, 1].
        y: classes (B,).
        baseline: the value of the blank sample.
        steps: points, each in the middle of its part of the line.
        tell: called with (steps done, steps in all).

    Source: Sundararajan et al. 2017, eq. (1) and proposition 1.
    """
    way = x - baseline  # (B, C, ...)
    total = torch.zeros_like(x)
    for step in range(steps):
        total += logit_gradient(model, baseline + (step + 0.5) / steps * way, y)
        tell(step + 1, steps)
    return way * total / steps
