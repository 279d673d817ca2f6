"""Normalisation as the first layer of a classifier, the only place where it happens."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalize(nn.Module):
    """Map samples from [0, 1] to what a network was trained on: ``(x - mean) / std``."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, mean: Sequence[float], std: Sequence[float], *, persistent: bool = True
    ) -> None:
        """Keep the statistics as buffers, so that saved weights carry them.

        Args:
            mean: one value a channel, in units of the [0, 1] range.
            std: one value a channel, above 0.
            persistent: whether they belong to the state dict.

        Raises:
            ValueError: if the lengths differ, a value is not finite or a deviation not above 0.
        """
        super().__init__()
        if len(mean) != len(std) or not mean:
            raise ValueError(
                f"mean has {len(mean)} values and std {len(std)}: give both, one value a channel"
            )
        if not all(map(math.isfinite, (*mean, *std))):
            raise ValueError(f"mean is {list(mean)} and std {list(std)}: give finite values")
        if min(std) <= 0:
            raise ValueError(f"std is {list(std)}: every value has to be above 0")
        for name, values in (("mean", mean), ("std", std)):
            buffer = torch.tensor(list(values), dtype=torch.float32)  # (C,)
            self.register_buffer(name, buffer, persistent=persistent)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise images (B, C, H, W) or videos (B, C, T, H, W)."""
        shape = (-1, *[1] * (x.ndim - 2))
        normal = (x - self.mean.view(shape)) / self.std.view(shape)
        return normal.to(x.dtype)  # a network in half precision takes nothing else


class Normalized(nn.Module):
    """A classifier with its ``Normalize`` in front; takes samples in [0, 1]."""

    def __init__(self, normalize: Normalize, model: nn.Module) -> None:
        """Put ``normalize`` in front of ``model``."""
        super().__init__()
        self.normalize = normalize
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, K) of samples (B, C, ...) in [0, 1]."""
        logits: Tensor = self.model(self.normalize(x))
        return logits
