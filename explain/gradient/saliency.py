"""Gradient saliency: how strongly each pixel moves the score of a class."""

from dataclasses import dataclass

from torch import Tensor

from explain.class_scores import logit_gradient
from explain.method import ExplanationCall, ExplanationMethod


@dataclass(frozen=True)
class Saliency(ExplanationMethod):
    """The largest absolute gradient of a class's logit among the channels of a pixel.

    Source: Simonyan, Vedaldi & Zisserman 2014, section 3.1.
    """

    def explain(self, call: ExplanationCall) -> Tensor:
        """Return max over channels of |d logit_y / dx|, (B, H, W) or (B, T, H, W)."""
        gradient = logit_gradient(call.model, call.x, call.y)  # (B, C, ...)
        call.progress(1, 1)
        return gradient.abs().amax(1)
