"""``load_classifier``: a classifier by name, with weights read safely and checked before use."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn


def load_classifier(
    name: str,
    *,
    num_classes: int | None = None,
    weights: str | Path | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    in_channels: int = 3,
    image_size: int | Sequence[int] | None = None,
    device: str | torch.device = "cpu",
) -> nn.Module:
    """Build a classifier, load its weights and check both; see the module for the names."""
    raise NotImplementedError
