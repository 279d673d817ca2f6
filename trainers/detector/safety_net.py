"""A detector of attacked samples: an RBF machine on quantised late activations."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from attacks import RefusedInput
from trainers.detector.roc import threshold_at
from trainers.detector.svm import SupportVectors, decision, fit_svm
from trainers.run.folder.checkpoint import load_tensors, save_tensors

_SCALE_QUANTILE = 0.95  # of a unit's clean activations, which is the highest level
_SLOPE = 0.2  # width of a step of the soft staircase, in levels
_REMEDY = "give a file that the job detect wrote"


class SafetyNet(nn.Module):
    """Scores activations of one layer: higher where the sample looks attacked.

    Each unit's activation is quantised to a few levels, evenly spaced from 0 to what it seldom
    exceeds on clean samples; an RBF machine scores the codes. Gradients go through the staircase as
    if its steps were soft, so an attack can follow them.

    Attributes:
        layer: the name of the classifier's layer.
        levels: of the quantiser.
        thresholds: of the score, by the share of clean samples above it.

    Source: Lu, Issaranon & Forsyth 2017 (SafetyNet), section 4.
    """

    scale: Tensor
    vectors: Tensor
    weights: Tensor
    intercept: Tensor
    gamma: Tensor

    def __init__(
        self,
        layer: str,
        levels: int,
        scale: Tensor,
        machine: SupportVectors,
        thresholds: Mapping[float, float] | None = None,
    ) -> None:
        """Take over what `fit` found.

        Args:
            layer: name.
            levels: at least 2.
            scale: the highest level's activation of each unit, (D,), above 0.
            machine: fitted to codes (N, D).
            thresholds: by share.
        """
        super().__init__()
        self.layer, self.levels = layer, levels
        self.thresholds = dict(thresholds or {})
        self.register_buffer("scale", scale)
        for name, tensor in machine._asdict().items():
            self.register_buffer(name, tensor)

    @classmethod
    def fit(
        cls, layer: str, clean: Tensor, attacked: Tensor, *, levels: int = 4, c: float = 1.0
    ) -> "SafetyNet":
        """Fit a detector to activations of clean (N, D) and of attacked samples (M, D).

        Args:
            layer: the layer that they are of.
            clean: not negative, as behind a ReLU; what is below 0 counts as 0.
            attacked: those of samples that fooled the classifier.
            levels: of the quantiser.
            c: cost of errors of the machine.
        """
        scale = clean.float().quantile(_SCALE_QUANTILE, dim=0)
        seldom = clean.amax(0)  # of units that are mostly 0
        scale = torch.where(scale > 0, scale, torch.where(seldom > 0, seldom, 1.0))
        codes = quantise_softly(torch.cat([clean, attacked]), scale, levels)
        positive = torch.arange(len(codes)) >= len(clean)
        return cls(layer, levels, scale, fit_svm(codes, positive, c=c))

    def forward(self, activations: Tensor) -> Tensor:
        """Return the scores (B,) of activations (B, D)."""
        machine = SupportVectors(self.vectors, self.weights, self.intercept, self.gamma)
        return decision(machine, quantise_softly(activations, self.scale, self.levels))

    def calibrate(self, scores: Tensor, shares: tuple[float, ...]) -> None:
        """Set thresholds that no more than a share of clean scores (N,) exceeds."""
        self.thresholds = {share: threshold_at(scores, share) for share in shares}

    def save(self, path: Path) -> None:
        """Write a safetensors file."""
        note = {
            "detector": "safetynet",
            "layer": self.layer,
            "levels": self.levels,
            "thresholds": list(self.thresholds.items()),
        }
        save_tensors(path, self.state_dict(), note)

    @classmethod
    def load(cls, path: Path) -> "SafetyNet":
        """Read what `save` wrote.

        Raises:
            RefusedInput: for a file that is missing, damaged, or holds something else.
        """
        tensors, note = load_tensors(path, remedy=_REMEDY)
        if not isinstance(note, dict) or note.get("detector") != "safetynet":
            raise RefusedInput(f"{path} holds no detector; {_REMEDY}")
        machine = SupportVectors(*(tensors[name] for name in SupportVectors._fields))
        layer, levels, pairs = note["layer"], note["levels"], note["thresholds"]
        return cls(layer, levels, tensors["scale"], machine, dict(pairs))


def quantise_softly(activations: Tensor, scale: Tensor, levels: int) -> Tensor:
    """Return activations (B, D) as levels in [0, 1]; the gradient is that of a soft staircase.

    Args:
        activations: not negative.
        scale: of each unit, (D,).
        levels: how many.

    >>> quantise_softly(torch.tensor([[0.1, 0.4, 3.0]]), torch.ones(3), 3)
    tensor([[0.0000, 0.5000, 1.0000]])
    """
    top = levels - 1
    heights = activations / scale * top
    hard = heights.round().clamp(0, top)
    if not heights.requires_grad:
        return torch.div(hard, top)
    soft = torch.zeros_like(heights)
    for step in range(top):
        soft = soft + torch.sigmoid((heights - step - 0.5) / _SLOPE)
    return (soft + (hard - soft).detach()) / top
