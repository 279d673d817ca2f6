"""Per-sample losses an untargeted attack raises for y and a targeted one lowers for target."""

from collections.abc import Callable
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

LossName = Literal["ce", "margin", "dlr"]


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


def dlr(logits: Tensor, y: Tensor) -> Tensor:
    """Return the margin over the distance of the first from the third logit, (B,); K >= 3.

    Neither a shift nor a scale of the logits changes it, so no confidence makes it vanish.

    Source: Croce & Hein 2020, eq. (6).

    >>> dlr(torch.tensor([[4.0, 3.0, 2.0]]), torch.tensor([0]))
    tensor([-0.5000])
    """
    first, _, third = logits.topk(3, dim=1).values.unbind(1)
    return margin(logits, y) / (first - third + TINY)


def targeted_dlr(logits: Tensor, target: Tensor, rival: Tensor | None = None) -> Tensor:
    """Return logits[rival] - logits[target] over the distance of the leading logits, (B,); K >= 4.

    The distance is that of the first from the mean of the third and fourth.

    Args:
        logits: (B, K).
        target: the class to reach, int64 (B,).
        rival: the class to lower, int64 (B,); the paper takes the label, which means the same
            while the label leads. None takes the strongest class but the target.

    Source: Croce & Hein 2020, eq. (7).
    """
    first, _, third, fourth = logits.topk(4, dim=1).values.unbind(1)
    if rival is None:
        lead = margin(logits, target)
    else:
        pair = logits.gather(1, torch.stack([rival, target], 1))  # (B, 2)
        lead = pair[:, 0] - pair[:, 1]
    return lead / (first - (third + fourth) / 2 + TINY)


TINY = 1e-12  # keeps equal logits from dividing by zero
LOSSES: dict[LossName, Callable[[Tensor, Tensor], Tensor]] = {
    "ce": cross_entropy,
    "margin": margin,
    "dlr": dlr,
}


def usable_loss(loss: LossName, classes: int, *, targeted: bool) -> LossName:
    """Return the loss, or "margin" in place of a DLR that the model has too few classes for.

    >>> usable_loss("dlr", 3, targeted=False), usable_loss("dlr", 3, targeted=True)
    ('dlr', 'margin')
    """
    return "margin" if loss == "dlr" and classes < (4 if targeted else 3) else loss
