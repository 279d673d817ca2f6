"""Per-sample losses an untargeted attack raises for y and a targeted one lowers for target."""

from collections.abc import Callable
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

LossName = Literal["ce", "margin"]


def check_loss(loss: str) -> None:
    """Raise ValueError unless `loss` is one of LOSSES."""
    if loss not in get_args(LossName):
        raise ValueError(f"loss is {loss!r}; allowed here: {', '.join(get_args(LossName))}")


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Return -log softmax(logits)[y], (B,).

    Source: Goodfellow et al. 2015; Madry et al. 2018.
    """
    return F.cross_entropy(logits, y, reduction="none")


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """Return max over i != y of logits[i] - logits[y], (B,): positive where y is not on top.

    The label is masked with -inf, not 0, which would be the largest of all-negative logits.

    Source: Carlini & Wagner 2017, f6, with the sign of a loss to raise.

    >>> margin(torch.tensor([[-1.0, -3.0]]), torch.tensor([0]))
    tensor([-2.])
    """
    own = F.one_hot(y, logits.shape[1]).bool()
    other = logits.masked_fill(own, -torch.inf).amax(1)
    return other - logits.gather(1, y[:, None]).squeeze(1)


LOSSES: dict[LossName, Callable[[Tensor, Tensor], Tensor]] = {"ce": cross_entropy, "margin": margin}
