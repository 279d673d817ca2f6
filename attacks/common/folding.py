"""Batch norms folded into the convolutions before them, for the passes of one attack.

In eval mode a batch norm scales and shifts each channel, which the convolution before it can do
by itself: what is saved is a pass over its output, and one over its gradient.
"""

import weakref
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from attacks.common.goal import Classifier, logits_of

# Subclasses may compute something else: what counts is whose method `forward` is.
_CONVOLUTIONS = (nn.Conv1d.forward, nn.Conv2d.forward, nn.Conv3d.forward)
_NORM = nn.BatchNorm2d.forward  # in one, two and three dimensions
Pair = tuple[nn.Module, nn.Module]


def folded(model: nn.Module, x: Tensor) -> tuple[Tensor, Classifier | None]:
    """Return the logits of x (B, ...), and the model with its batch norms folded.

    A batch norm is folded if in this pass it was called once, on the output of a convolution
    called once. Whether something else uses that output is not seen: compare the answers. The
    model's own code runs as before, hooks included, and the model is as before between passes.

    Args:
        model: the classifier, already `frozen`.
        x: some samples, (B, ...).

    Returns:
        The logits (B, K), and the folded forward pass; None where there is nothing to fold, or
        where torch.compile would take each change of a module for a reason to compile anew.
    """
    if any(map(_is_compiled, model.modules())):
        with torch.no_grad():
            return logits_of(model, x), None
    logits, pairs = _observed(model, x)
    if not pairs:
        return logits, None
    forwards: dict[nn.Module, Callable[[Tensor], Tensor]] = {}
    with torch.no_grad():
        for convolution, norm in pairs:
            forwards |= {convolution: _merged(convolution, norm), norm: _identity}
    return logits, Folded(model, forwards)


@dataclass(frozen=True)
class Folded:
    """A model some of whose modules compute something else while it is called.

    Attributes:
        model: the classifier.
        forwards: what these modules compute instead.
    """

    model: nn.Module
    forwards: dict[nn.Module, Callable[[Tensor], Tensor]]

    def __call__(self, x: Tensor) -> Tensor:
        """Return the logits (B, K) of x (B, ...)."""
        try:
            for module, forward in self.forwards.items():
                module.__dict__["forward"] = forward  # it hides the method of the class
            return logits_of(self.model, x)
        finally:
            for module in self.forwards:
                module.__dict__.pop("forward", None)


def _is_compiled(module: nn.Module) -> bool:
    """Tell whether a module came out of torch.compile, or had its method `compile` called."""
    # TorchScript modules have neither; they are not folded.
    compiled = getattr(module, "_compiled_call_impl", None) is not None
    return compiled or hasattr(module, "_orig_mod")


def _observed(model: nn.Module, x: Tensor) -> tuple[Tensor, list[Pair]]:
    """Return the logits of x, and which norm followed which convolution."""
    made: dict[int, tuple[weakref.ref[Tensor], nn.Module]] = {}  # outputs by their id
    calls: Counter[nn.Module] = Counter()
    pairs: list[Pair] = []

    def after_convolution(module: nn.Module, _: Any, output: Tensor) -> None:
        calls[module] += 1
        made[id(output)] = weakref.ref(output), module

    def before_norm(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        calls[module] += 1
        output, convolution = made.get(id(args[0]), (None, None))
        if output and convolution and output() is args[0]:
            pairs.append((convolution, module))

    with ExitStack() as stack, torch.no_grad():
        for module in model.modules():
            if "forward" in module.__dict__ or isinstance(module, torch.jit.ScriptModule):
                continue
            if type(module).forward in _CONVOLUTIONS:
                stack.callback(module.register_forward_hook(after_convolution).remove)
            elif type(module).forward is _NORM and module.running_mean is not None:
                stack.callback(module.register_forward_pre_hook(before_norm).remove)
        logits = logits_of(model, x)
    return logits, [pair for pair in pairs if all(calls[module] == 1 for module in pair)]


def _merged(convolution: Any, norm: Any) -> Callable[[Tensor], Tensor]:
    """Return the convolution with the norm behind it, as one convolution."""
    weight, bias = fuse_conv_bn_weights(
        convolution.weight, convolution.bias, norm.running_mean, norm.running_var, norm.eps,
        norm.weight, norm.bias,
    )  # fmt: skip
    # This method of a convolution pads, in each of its padding modes.
    return partial(convolution._conv_forward, weight=weight.detach(), bias=bias.detach())


def _identity(x: Tensor) -> Tensor:
    return x
