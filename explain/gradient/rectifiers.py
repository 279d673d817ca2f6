"""Other backward rules for the rectifiers of a model, modules and functions alike.

Sources: Zeiler & Fergus 2014, section 2.1, "Rectification"; Springenberg et al. 2015, section 3.4
and fig. 1.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from explain.class_scores import logit_gradient
from explain.gradient.uncompiled import uncompiled

Rule = Literal["guided", "deconvolution"]

_RELUS = ("relu", "relu6")  # functions of torch by their names, without a _ of those in place
_CLIPS = ("hardtanh", "clamp", "clip", "clamp_min")


def rectified_gradient(model: nn.Module, x: Tensor, y: Tensor, *, rule: Rule) -> Tensor:
    """Return what goes back from the logit of class y to x, like x, by a rule for rectifiers.

    "guided" lets the positive part of a gradient through where the rectifier let its input
    through; "deconvolution" lets the positive part through everywhere. Rectifiers are ReLU, ReLU6,
    and what clips from 0 on, alone or up to more than 1 (to clip pixels to [0, 1] is not one).

    Args:
        model: the classifier, `frozen`.
        x: samples (B, C, ...).
        y: classes (B,).
        rule: the backward rule.

    Raises:
        ValueError: when a pass of x calls no rectifier, or logits carry no gradient.
    """
    with uncompiled(model), _Rectifiers(rule) as rectifiers:
        gradient = logit_gradient(model, x, y)
    if not rectifiers.calls:
        raise ValueError(
            f"a pass of {type(model).__name__} calls no ReLU or ReLU6, or hides them as "
            "TorchScript does, and guided backpropagation and deconvolution are backward rules for "
            "these; take another method, such as saliency or integrated-gradients"
        )
    return gradient


class _PositiveGradient(torch.autograd.Function):
    """The values of one tensor, and the positive part of the gradient for another."""

    @staticmethod
    def forward(ctx: Any, through: Tensor, value: Tensor) -> Tensor:
        return value.clone()  # what follows may write into it

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        return gradients[0].clamp_min(0), None


class _Rectifiers(TorchFunctionMode):
    """Put a backward rule in the place of that of each rectifier called in the body.

    Attributes:
        calls: how many were.
    """

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        self.rule, self.calls = rule, 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "").partition(".")[0]  # without that of an overload
        x: Any = args[0] if args else None
        followed = torch.is_grad_enabled() and isinstance(x, Tensor) and x.requires_grad
        if not (followed and _is_rectifier(name.strip("_"), args[1:], kwargs)):
            return func(*args, **kwargs)
        self.calls += 1
        guided = self.rule == "guided"
        copy = x.clone() if guided else x.detach().clone()  # which the function may change
        value = func(copy, *args[1:], **kwargs)
        result = _PositiveGradient.apply(value if guided else x, value.detach())
        return x.copy_(result) if name.endswith("_") or kwargs.get("inplace") else result


def _is_rectifier(name: str, others: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Tell whether a function, given these arguments behind its input, is one."""
    if name not in _CLIPS:
        return name in _RELUS
    low, high = (*others, None, None)[:2]
    low = kwargs.get("min", kwargs.get("min_val", low))
    high = kwargs.get("max", kwargs.get("max_val", high))
    from_zero = isinstance(low, (int, float)) and low == 0
    return from_zero and (high is None or (isinstance(high, (int, float)) and high > 1))
