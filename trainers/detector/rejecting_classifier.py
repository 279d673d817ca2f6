"""A classifier that refuses samples which look attacked."""

import torch
from torch import Tensor, nn

from attacks.common.activations import activations_of
from trainers.detector.safety_net import SafetyNet


class RejectingClassifier(nn.Module):
    """A classifier with one more class, the last: refused.

    Its logit is the highest of the others plus the detector's score less a threshold, so it leads
    where the score is above the threshold.

    Source: Carlini & Wagner 2017 (Adversarial Examples Are Not Easily Detected), section 3.
    """

    def __init__(self, model: nn.Module, detector: SafetyNet, threshold: float) -> None:
        """Join a classifier with the detector of its activations."""
        super().__init__()
        self.model, self.detector, self.threshold = model, detector, threshold

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (B, K + 1) of samples (B, ...) in [0, 1]."""
        logits, activations = activations_of(self.model, self.detector.layer, x)
        refused = logits.amax(1) + self.detector(activations.flatten(1)) - self.threshold  # (B,)
        return torch.cat([logits, refused[:, None]], 1)
