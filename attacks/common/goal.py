"""What an attack wants, and how far it has come."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from attacks.common.calling import call
from attacks.common.losses import LOSSES, LossName, targeted_dlr, usable_loss


@dataclass(frozen=True)
class Goal:
    """Another answer than y, or the answer target, pursued by raising or lowering a loss.

    Args:
        y: labels, int64 (B,).
        target: wanted classes, int64 (B,); None for any class but y.
        loss: "ce", "margin" or "dlr".
        any_class: pursue target, but let any class but y do, as AutoAttack's targeted members.
    """

    y: Tensor
    target: Tensor | None = None
    loss: LossName = "ce"
    any_class: bool = False

    def objective(self, logits: Tensor) -> Tensor:
        """Return (B,), growing as the goal comes nearer, from logits (B, K)."""
        self.check_classes(logits)
        loss = usable_loss(self.loss, logits.shape[1], targeted=self.target is not None)
        if self.target is None:
            return LOSSES[loss](logits, self.y)
        if loss == "dlr":
            return -targeted_dlr(logits, self.target, self.y if self.any_class else None)
        return -LOSSES[loss](logits, self.target)

    def as_loss(self, value: Tensor) -> Tensor:
        """Return the loss itself for a value: the same, or its negative when targeted."""
        return value if self.target is None else -value

    def is_adversarial(self, logits: Tensor) -> Tensor:
        """Return (B,) bool: prediction differs from y, or equals target; never if not finite.

        >>> logits = torch.tensor([[0.0, 1.0], [torch.nan, 0.0]])
        >>> Goal(torch.tensor([0, 1])).is_adversarial(logits)
        tensor([ True, False])
        """
        self.check_classes(logits)
        predicted = logits.argmax(1)
        untargeted = self.target is None or self.any_class
        met = predicted != self.y if untargeted else predicted == self.target
        return met & torch.isfinite(logits).all(1)

    @cached_property
    def _highest(self) -> int:
        """The highest class asked for; read once, for it waits for the device."""
        labels = self.y if self.target is None else torch.cat([self.y, self.target])
        return int(labels.max())

    def check_classes(self, logits: Tensor) -> None:
        """Raise ValueError when a label or target is no class of logits (B, K)."""
        if self._highest >= logits.shape[1]:
            raise ValueError(
                f"y or target asks for class {self._highest} of a model with {logits.shape[1]} "
                "classes (0 is the first); check the labels, or num_classes of the model"
            )


def likeliest_wrong(logits: Tensor, y: Tensor, count: int) -> Tensor:
    """Return the `count` highest classes but y, or all if there are fewer, int64 (B, n).

    >>> likeliest_wrong(torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([0]), 5)
    tensor([[2, 1]])
    """
    own = torch.nn.functional.one_hot(y, logits.shape[1]).bool()
    others = logits.masked_fill(own, -torch.inf)
    return others.topk(min(count, logits.shape[1] - 1), dim=1).indices  # (B, n)


Classifier = Callable[[Tensor], Tensor]  # samples (B, ...) to logits (B, K); a module is one


def logits_of(model: Classifier, x: Tensor) -> Tensor:
    """Return the model's logits (B, K) in float32, or in float64 where x is.

    A module is given a copy of x, and what it returns is copied: it may change or keep either.

    Raises:
        ValueError: when the model returns anything but (B, K) with K >= 2.
    """
    logits = call(model, x) if isinstance(model, nn.Module) else model(x)
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(x):
        seen = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"the model returned {seen}; a classifier returns logits ({len(x)}, K)")
    if logits.shape[1] < 2:
        raise ValueError(
            "the model returned one logit a sample; give the logits of two classes, [0, z] of a "
            "logit z: with --binary, or load_classifier(..., binary=True)"
        )
    return logits.to(x.dtype, copy=True)


def value_and_gradient(
    model: Classifier, x: Tensor, value: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits (B, K), value(logits) (B,) and its gradient in x (like x), all detached."""
    x = x.detach().requires_grad_()
    logits = logits_of(model, x)
    values = value(logits)
    check_differentiable(logits)
    (gradient,) = torch.autograd.grad(values.sum(), x)
    return logits.detach(), values.detach(), gradient.contiguous()


def check_differentiable(logits: Tensor) -> None:
    """Raise ValueError when logits were computed in a way no gradient flows through."""
    if not logits.requires_grad:
        raise ValueError(
            "the model's logits carry no gradient; take detach(), torch.no_grad() and numpy out "
            "of its forward pass, or use an attack that needs no gradient"
        )


def logit_warnings(finite: Tensor) -> dict[str, list[str]]:
    """Return {"warnings": [...]} when some sample's logits were not finite, from (B,) bool."""
    broken = int((~finite).sum())
    if not broken:
        return {}
    text = f"{broken} of {len(finite)} samples gave non-finite logits and count as not fooled"
    return {"warnings": [text]}
