"""Guided backpropagation: the gradient with all that speaks against the class left out."""

from dataclasses import dataclass

from torch import Tensor

from explain.gradient.rectifiers import rectified_gradient
from explain.method import ExplanationCall, ExplanationMethod


@dataclass(frozen=True)
class GuidedBackprop(ExplanationMethod):
    """Saliency, with gradients stopped at ReLUs where they or the ReLU's inputs are negative.

    The ReLUs and ReLU6s may be modules or functions; see `rectified_gradient`.

    Source: Springenberg, Dosovitskiy, Brox & Riedmiller 2015, section 3.4 and fig. 1.
    """

    def explain(self, call: ExplanationCall) -> Tensor:
        """Return the largest absolute value among channels, (B, H, W) or (B, T, H, W)."""
        signal = rectified_gradient(call.model, call.x, call.y, rule="guided")  # (B, C, ...)
        call.progress(1, 1)
        return signal.abs().amax(1)
