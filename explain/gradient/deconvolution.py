"""Deconvolution: the logit of a class, sent back through a network that runs in reverse."""

from dataclasses import dataclass

from torch import Tensor

from explain.gradient.rectifiers import rectified_gradient
from explain.method import ExplanationCall, ExplanationMethod


@dataclass(frozen=True)
class Deconvolution(ExplanationMethod):
    """Saliency, with ReLUs that rectify the gradient, whatever their inputs were.

    That is a deconvnet: transposed filters, unpooling to where the maxima were, and a ReLU in each
    layer. The ReLUs and ReLU6s may be modules or functions; see `rectified_gradient`.

    Source: Zeiler & Fergus 2014, section 2.1; as a backward rule Simonyan et al. 2014, section 4.
    """

    def explain(self, call: ExplanationCall) -> Tensor:
        """Return the largest absolute value among channels, (B, H, W) or (B, T, H, W)."""
        signal = rectified_gradient(call.model, call.x, call.y, rule="deconvolution")  # (B, C, ...)
        call.progress(1, 1)
        return signal.abs().amax(1)
