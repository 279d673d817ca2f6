"""Fewer levels of brightness."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from torch import Tensor

from attacks.common.options import between
from trainers.defences.defence import Defence


@dataclass(frozen=True)
class BitDepth(Defence):
    """Round each value to one of 2**bits levels, evenly spaced from 0 to 1.

    Args:
        bits: of a value, from 1 to 8.

    Source: Xu, Evans & Qi 2018 (feature squeezing), section III-A.

    >>> import torch
    >>> BitDepth(bits=1)(torch.tensor([[[[0.2, 0.6]]]]))
    tensor([[[[0., 1.]]]])
    """

    bits: Annotated[int, between(1, 8)] = 4

    masks_gradient: ClassVar[bool] = True

    def __call__(self, x: Tensor) -> Tensor:
        """Return rounded samples, whose gradient is zero."""
        highest = 2**self.bits - 1
        levels = (x.clamp(0, 1) * highest).round()
        rounded: Tensor = levels / highest
        return rounded

    def surrogate(self, x: Tensor) -> Tensor:
        """Return the samples as they are."""
        return x
