"""The expectation over a random classifier's passes (EOT)."""

from collections.abc import Callable

import torch
from torch import Tensor

Pass = Callable[[Tensor], Tensor]  # samples (B, ...) to logits (B, K)


class Expectation:
    """A random classifier as the mean of several passes, each with random numbers of its own.

    The passes come one after the other: a classifier may draw once for a whole batch, and copies
    of the samples in one pass would then share the draw.

    Attributes:
        passes: how many.

    Source: Athalye et al. 2018, "Synthesizing robust adversarial examples", section 2.2.
    """

    def __init__(self, forward: Pass, passes: int) -> None:
        """Average `passes` passes of `forward`."""
        self._forward, self.passes = forward, passes

    def __call__(self, x: Tensor) -> Tensor:
        """Return the mean logits (B, K) of x (B, ...)."""
        (logits,) = self.mean(lambda forward: (forward(x),))
        return logits

    def mean(self, evaluate: Callable[[Pass], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """Return the mean of what `evaluate` returns of each pass."""
        total = list(evaluate(self._forward))
        for _ in range(self.passes - 1):
            total = [torch.add(*pair) for pair in zip(total, evaluate(self._forward), strict=True)]
        return tuple(each / self.passes for each in total)
