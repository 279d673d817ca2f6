"""The goal of an attack: the loss to raise, the success, and warnings about gradients and logits.

Each warning has a section in docs/attacks.md that says what to do.

Source of the warnings: Carlini et al. 2019, section 5; Croce & Hein 2020, and AutoAttack's flags.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attacks.common.expectation import Expectation
from attacks.common.frozen import call

LossName = Literal["ce", "margin", "dlr"]


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

    def is_adversarial(self, logits: Tensor, *, finite: Tensor | None = None) -> Tensor:
        """Return (B,) bool: prediction differs from y, or equals target; never if not finite.

        Args:
            logits: (B, K).
            finite: which rows are finite, bool (B,), where that is known.

        >>> logits = torch.tensor([[0.0, 1.0], [torch.nan, 0.0]])
        >>> Goal(torch.tensor([0, 1])).is_adversarial(logits)
        tensor([ True, False])
        """
        self.check_classes(logits)
        predicted = logits.argmax(1)
        untargeted = self.target is None or self.any_class
        met = predicted != self.y if untargeted else predicted == self.target
        return met & (torch.isfinite(logits).all(1) if finite is None else finite)

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


def detached_logits(model: Classifier, x: Tensor) -> Tensor:
    """Return the model's logits (B, K) where no gradient is wanted; see `logits_of`."""
    with torch.no_grad():
        return logits_of(model, x)


def value_and_gradient(
    model: Classifier, x: Tensor, value: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits (B, K), value(logits) (B,) and its gradient in x (like x), all detached.

    Of an `Expectation` they are the means over its passes.
    """
    if isinstance(model, Expectation):
        logits, values, gradient = model.mean(lambda one: value_and_gradient(one, x, value))
        return logits, values, gradient
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
            "the model's logits carry no gradient: something in its forward pass detaches, or "
            "calls NumPy; give the attack bpda=identity where a layer of its own does that and "
            "keeps shapes, or use an attack that needs no gradient, such as square"
        )


def logit_warnings(finite: Tensor) -> dict[str, list[str]]:
    """Return {"warnings": [...]} when some sample's logits were not finite, from (B,) bool."""
    broken = int((~finite).sum())
    if not broken:
        return {}
    text = f"{broken} of {len(finite)} samples gave non-finite logits and count as not fooled"
    return {"warnings": [text]}


def without_slope(gradient: Tensor) -> Tensor:
    """Return which samples' gradients (B, ...) point nowhere: all zero, or not finite; (B,)."""
    flat = gradient.flatten(1)  # (B, D)
    peak = torch.maximum(flat.amax(1), -flat.amin(1))
    return ~((peak > 0) & (peak < torch.inf))


def are_probabilities(logits: Tensor) -> Tensor:
    """Return whether every row of logits (B, K) is at least 0 and sums to 1, a bool ().

    >>> are_probabilities(torch.tensor([[0.25, 0.75], [1.0, 0.0]])).item()
    True
    """
    sums = logits.sum(1)
    return (logits >= 0).all() & ((sums - 1).abs() < 1e-2).all()


def warnings_of(
    goal: Goal,
    logits: Tensor,
    *,
    finite: Tensor,
    stuck: Tensor | None = None,
    random: bool = False,
) -> dict[str, list[str]]:
    """Return {"warnings": [...]} for `AttackResult.info`, or {} when nothing was wrong.

    Args:
        goal: what was attacked.
        logits: some answers of the model to all samples, such as the first, (B, K).
        finite: samples whose logits were always finite, bool (B,).
        stuck: samples that met `without_slope` before they were fooled, bool (B,); None for
            attacks that take no gradient.
        random: what `is_random` said.
    """
    texts = logit_warnings(finite).get("warnings", [])
    count = 0 if stuck is None else int(stuck.sum())
    if count:
        texts.append(
            f"{count} of {len(finite)} samples met a zero or non-finite gradient before they were "
            "fooled; give bpda=identity if the model rounds, loss=dlr if its logits are large"
        )
    if bool(are_probabilities(logits)):
        texts.append("the model's outputs look like probabilities, not logits")
    if random:
        texts.append(
            "the model is random: two forward passes of the same samples differ; attack it with "
            "eot=20, or by autoattack:version=rand"
        )
    classes = logits.shape[1]
    if usable_loss(goal.loss, classes, targeted=goal.target is not None) != goal.loss:
        texts.append(f"loss {goal.loss} on {classes} classes needs more, so the margin was taken")
    return {"warnings": texts} if texts else {}
