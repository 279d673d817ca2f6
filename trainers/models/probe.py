"""One cheap forward pass that tells whether a model can be used as a classifier."""

from collections.abc import Sequence

from torch import nn


def probe_classifier(
    model: nn.Module, shape: Sequence[int], num_classes: int | None = None
) -> list[str]:
    """Check that ``model`` maps samples of ``shape`` (C, ...) to finite logits (B, num_classes)."""
    raise NotImplementedError
