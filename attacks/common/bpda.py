"""Backward pass differentiable approximation (BPDA): gradients through what has none.

Source: Athalye, Carlini & Wagner 2018, "Obfuscated gradients give a false sense of security",
section 4.1; the identity for rounding: Bengio et al. 2013, the straight-through estimator.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from attacks.common.forward import TRIED, Forwards, is_compiled, replace_forwards
from attacks.common.goal import logits_of

IDENTITY, SURROGATE = "identity", "surrogate"


@contextmanager
def stand_ins(model: nn.Module, x: Tensor, bpda: str) -> Iterator[None]:
    """Let gradients pass in the body through what has none; the forward pass stays as it is.

    The functions that round are the identity in the backward pass wherever the model calls them,
    and so is each module that returns something of its input's shape and lets no gradient
    through: one that calls Pillow or NumPy, detaches, or counts. One pass finds them.

    Args:
        model: the classifier, `frozen`.
        x: samples (B, ...), some of which are tried.
        bpda: "identity"; or "surrogate", for which a module's method `surrogate(x) -> Tensor`, a
            differentiable function of the same shapes, takes the identity's place where there is
            one. "identity:LAYER+LAYER" and "surrogate:LAYER" name the modules, as
            `named_modules()` has them, in place of looking for them; so does "LAYER".

    Raises:
        ValueError: for layers that the model does not have, or that no stand-in fits.
    """
    kind, _, names = bpda.partition(":")
    if kind not in (IDENTITY, SURROGATE):
        kind, names = SURROGATE, bpda
    named = _named_modules(model, names) if names else None
    forwards: dict[nn.Module, Callable[..., Any] | None] = {}
    for module in model.modules() if named is None else named:
        surrogate = getattr(module, SURROGATE, None) if kind == SURROGATE else None
        if named is not None or callable(surrogate):
            forwards[module] = partial(_stood_in, module.forward, surrogate or _same)
    if kind == SURROGATE and not forwards:
        raise ValueError(
            "bpda is 'surrogate', and no module of the model has a method surrogate(x); give "
            "bpda='identity', or the module such a method"
        )
    with ExitStack() as stack:
        if any(map(is_compiled, model.modules())):  # what is compiled knows no stand-in
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.enter_context(_StraightThrough())
        stack.enter_context(replace_forwards(forwards))
        if named is None:
            found = _without_gradient(model, x[:TRIED], known=forwards)
            stack.enter_context(replace_forwards(found))
        yield


def _named_modules(model: nn.Module, names: str) -> list[nn.Module]:
    modules = dict(model.named_modules())
    for name in names.split("+"):
        if not modules.get(name) or not name:
            raise ValueError(
                f"bpda names the layer {name!r}; allowed: {IDENTITY}, {SURROGATE}, either with "
                f":LAYER, and the layers are {', '.join(filter(None, modules))}"
            )
    return [modules[name] for name in names.split("+")]


class _StandIn(torch.autograd.Function):
    """The values of one tensor, and the gradient of another of the same shape."""

    @staticmethod
    def forward(ctx: Any, stand_in: Tensor, value: Tensor) -> Tensor:
        ctx.like = stand_in.new_empty(0)
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        return gradients[0].to(ctx.like), None


def _same(x: Tensor) -> Tensor:
    return x


def _stood_in(
    forward: Callable[..., Tensor],
    surrogate: Callable[[Tensor], Tensor],
    x: Tensor,
    *others: Any,
    **names: Any,
) -> Tensor:
    """Return what a module computes, with the gradient of its surrogate."""
    with torch.no_grad():
        value = forward(x.detach(), *others, **names)
    stand_in = surrogate(x)
    if stand_in.shape != value.shape:
        raise ValueError(
            f"bpda puts something of shape {tuple(stand_in.shape)} in the place of a layer that "
            f"returns {tuple(value.shape)}; give the layer a method surrogate(x) that returns the "
            "same shape, and bpda='surrogate'"
        )
    return _approximate(stand_in, value)


def _approximate(stand_in: Any, value: Tensor) -> Tensor:
    result: Tensor = _StandIn.apply(stand_in, value)
    return result


def _without_gradient(model: nn.Module, x: Tensor, *, known: Forwards) -> Forwards:
    """Find the innermost modules that keep shapes and let no gradient through, by one pass of x."""
    found: dict[nn.Module, Callable[..., Any] | None] = {}

    def tried(module: nn.Module, forward: Callable[..., Any], *args: Any, **names: Any) -> Any:
        given = args[0] if args else None
        try:
            output = forward(*args, **names)
        except RuntimeError as error:
            if "requires grad" not in str(error) or not isinstance(given, Tensor):
                raise
            output = forward(given.detach(), *args[1:], **names)  # it asks NumPy, say
        if not _stops_gradient(given, output):
            return output
        found[module] = partial(_stood_in, forward, _same)
        return _approximate(given, output.detach())

    tries = {
        module: partial(tried, module, module.forward)
        for module in model.modules()
        if not (module in known or module is model or _is_differentiable(module))
    }
    with replace_forwards(tries), torch.enable_grad():
        logits_of(model, x.detach().requires_grad_())
    return found


def _is_differentiable(module: nn.Module) -> bool:
    """Tell whether a module is one of torch's own layers; a ReLU may well be all zero on x."""
    own = type(module).__module__.startswith("torch.") and not any(True for _ in module.children())
    return own or isinstance(module, torch.jit.ScriptModule)


def _stops_gradient(x: Any, output: Any) -> bool:
    """Tell whether output is like x, which asks for a gradient, and gives x none."""
    if not (isinstance(x, Tensor) and isinstance(output, Tensor) and x.requires_grad):
        return False
    if output.shape != x.shape or not output.is_floating_point():
        return False
    if not output.requires_grad:
        return True
    mixed = torch.rand_like(output)  # a sum of equal shares could cancel, as behind a softmax
    (slope,) = torch.autograd.grad(output, x, mixed, retain_graph=True, allow_unused=True)
    return slope is None or not bool(slope.any())


def _first(x: Any, *others: Any, **names: Any) -> Any:
    return x


def _quotient(x: Any, y: Any, **names: Any) -> Any:
    return torch.true_divide(x, y)


# Functions of torch by their names: those that round, with what stands in for each; ...
_ROUNDING: dict[str, Callable[..., Any]] = dict.fromkeys(
    ["round", "floor", "ceil", "trunc", "fix", "sign", "sgn", "special_round"], _first
) | dict.fromkeys(["floor_divide", "__floordiv__"], _quotient)
# ... those that make whole numbers, or pixels of these again; and what may come between.
_CASTS = {"byte", "char", "short", "int", "long", "float", "double", "to", "type", "type_as"}
_ARITHMETIC = {"add", "sub", "mul", "div", "true_divide", "__rsub__"}
_SOURCE = "_stand_in"  # of whole numbers, which have no gradient: what they were made from


class _StraightThrough(TorchFunctionMode):
    """Gradients through the functions that round, and through casts to whole numbers and back."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        if not (torch.is_grad_enabled() and any(map(_is_followed, args))):
            return func(*args, **kwargs)
        in_place = name.endswith("_") and name[:-1] in _ROUNDING
        name = name[:-1] if in_place else name
        stand_in = _stand_in_of(name, func, args, kwargs)
        if stand_in is None:
            return func(*args, **kwargs)
        if in_place:
            before = stand_in(args[0].clone(), *args[1:], **kwargs)
            return args[0].copy_(_approximate(before, func(args[0].detach().clone(), *args[1:])))
        value = func(*args, **kwargs)
        if not isinstance(value, Tensor):  # the name of a type
            return value
        if name in _CASTS and value.is_floating_point() and not hasattr(args[0], _SOURCE):
            return value
        source = stand_in(*(getattr(each, _SOURCE, each) for each in args), **kwargs)
        if value.is_floating_point():
            return _approximate(source, value.detach())
        setattr(value, _SOURCE, source)
        return value


def _is_followed(value: Any) -> bool:
    """Tell whether a gradient is wanted of a tensor, or of what it was made from."""
    return isinstance(value, Tensor) and (value.requires_grad or hasattr(value, _SOURCE))


def _stand_in_of(
    name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Callable[..., Any] | None:
    """Return the differentiable function that stands in for one of torch's; None for no need."""
    if name in _ROUNDING:
        return _ROUNDING[name]
    if kwargs.get("rounding_mode"):
        return _quotient
    if name in _CASTS:
        return _first
    if name in _ARITHMETIC and any(hasattr(each, _SOURCE) for each in args):
        return func  # type: ignore[no-any-return]
    return None
