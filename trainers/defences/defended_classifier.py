"""A classifier behind transforms of its samples."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attacks.common.goal import logits_of
from trainers.defences.defence import Defence


class TransformLayer(nn.Module):
    """A defence as a layer, with its surrogate where it has one, for `bpda=surrogate` to find."""

    def __init__(self, defence: Defence) -> None:
        """Take over the defence."""
        super().__init__()
        self.defence = defence
        if defence.masks_gradient:
            self.surrogate = defence.surrogate

    def forward(self, x: Tensor) -> Tensor:
        """Return transformed samples, (B, C, ..., H', W')."""
        return self.defence(x)

    def extra_repr(self) -> str:
        """Name the defence with its options."""
        return repr(self.defence)


class DefendedClassifier(nn.Module):
    """Transform samples by one defence after the other, then classify them.

    Where a defence averages over draws, the logits are those of the mean of the probabilities; in
    training there is one draw.
    """

    def __init__(self, model: nn.Module, defences: Sequence[Defence]) -> None:
        """Put defences, the first first, in front of a classifier."""
        super().__init__()
        self.layers = nn.ModuleList(map(TransformLayer, defences))
        self.model = model
        self.defences = tuple(defences)

    @property
    def random(self) -> bool:
        """Whether two passes of the same samples differ by chance."""
        return any(defence.random for defence in self.defences)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (B, K) of samples (B, C, ...) in [0, 1]."""
        batch = len(x)
        for layer, defence in zip(self.layers, self.defences, strict=True):
            draws = 1 if self.training else defence.draws
            x = layer(x.repeat(draws, *[1] * (x.ndim - 1)) if draws > 1 else x)  # (n * B, ...)
        if len(x) == batch:
            logits: Tensor = self.model(x)
            return logits
        scores = logits_of(self.model, x).log_softmax(1)  # (n * B, K)
        scores = scores.reshape(-1, batch, scores.shape[1])
        return torch.logsumexp(scores, 0) - math.log(len(scores))
