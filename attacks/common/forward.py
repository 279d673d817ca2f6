"""The forward pass of a classifier: made quick on a CPU, in bfloat16 or compiled where asked."""

import random
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from attacks.common.expectation import Expectation
from attacks.common.goal import Classifier, detached_logits, logits_of

REPEATS = 5  # passes after the first, by which a random model is known

_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
TRIED = 2  # samples
_FEW = 2  # passes, those of a single step
_NARROW = 64  # channels
_GENERATORS = {torch.Generator, random.Random, np.random.Generator, np.random.RandomState}
_COMPLAINTS = ("contiguous", "stride", "view", "layout")  # words of who wants the default layout


def wrap_forward(
    model: nn.Module,
    x: Tensor,
    *,
    passes: int | None = None,
    bf16: bool = False,
    compiled: bool = False,
) -> tuple[Classifier, bool, Tensor]:
    """Return the model's forward pass, left in float32 and uncompiled unless asked.

    On a CPU two changes make it quicker, if they change no answer to two of the samples: samples
    come in channels-last, for in the default layout oneDNN reorders the inputs and outputs of
    every convolution; and batch norms are `folded` into convolutions. Without a batch norm to
    fold, the weights keep their layout, and are reordered in each pass: channels-last then pays
    for convolutions of up to 64 channels alone.

    Whether the model is random `is_random` asks the pass that is returned, so that an effect of
    the layout is not taken for chance. A model that draws from no generator is asked once more;
    one that does, as often as half of the passes.

    Args:
        model: the classifier, already `frozen`.
        x: samples, (B, ...), two of which are tried.
        passes: how many passes of the model follow, at most; None for many. Before a few, folding
            is not worth its while.
        bf16: run it under bfloat16 autocast. float16 is not offered: it turned the gradients
            of whole samples to zero.
        compiled: run it through torch.compile, as it is.

    Returns:
        The forward pass, whether the model is random, and the logits of x[:TRIED].
    """
    some, owns = x[:TRIED], _owns_generator(model)
    before = _generator_states(model)
    quick = x.device.type == "cpu" and not compiled and (passes is None or passes > _FEW)
    usual, candidate = _quicker(model, some) if quick else (detached_logits(model, some), None)
    repeats = REPEATS if passes is None else min(REPEATS, max(1, passes // 2))
    draws = owns or before != _generator_states(model)
    chosen: Classifier = model
    if candidate and _agrees(candidate, some, usual):
        chosen, repeats = candidate, repeats if draws else 0  # this was a second answer
    elif not candidate and not draws:
        repeats = 1
    random = is_random(chosen, some, usual=usual, repeats=repeats)
    if compiled:
        chosen = cast(Classifier, torch.compile(model))
    return _in_bfloat16(chosen) if bf16 else chosen, random, usual


def _quicker(model: nn.Module, x: Tensor) -> tuple[Tensor, Classifier | None]:
    """Return the logits of x (B, ...), and a forward pass that may be quicker, or None."""
    layout = _CHANNELS_LAST[x.ndim]
    usual, fold = folded(model, x, layout=layout)
    widths = [m.out_channels for m in model.modules() if isinstance(m, nn.modules.conv._ConvNd)]
    narrow = bool(widths) and max(widths) <= _NARROW
    return usual, _in_layout(fold or model, layout) if fold or narrow else None


def _owns_generator(model: nn.Module) -> bool:
    """Tell whether a module has a generator of random numbers as an attribute."""
    return any(
        not _GENERATORS.isdisjoint(map(type, vars(module).values())) for module in model.modules()
    )


def _generator_states(model: nn.Module) -> tuple[Any, ...]:
    """Return the states of all generators that a model may draw from without owning one."""
    _, words, *rest = cast(tuple[Any, ...], np.random.get_state())  # noqa: NPY002
    python, default = random.getstate(), torch.get_rng_state().numpy().tobytes()
    cuda = {t.device for t in chain(model.parameters(), model.buffers()) if t.is_cuda}
    devices = [torch.cuda.get_rng_state(d).numpy().tobytes() for d in sorted(cuda, key=str)]
    return python, default, words.tobytes(), *rest, *devices


def _agrees(forward: Classifier, x: Tensor, usual: Tensor) -> bool:
    """Return whether a forward pass gives x (B, ...) the usual logits (B, K).

    A model that calls `view` on its features, or insists on the default layout, does not.
    """
    try:
        return are_alike(usual, detached_logits(forward, x))
    except Exception as error:
        if isinstance(error, AssertionError) or any(word in str(error) for word in _COMPLAINTS):
            return False
        raise


def is_random(
    model: Classifier, x: Tensor, *, usual: Tensor | None = None, repeats: int = REPEATS
) -> bool:
    """Return whether forward passes of the same samples x (B, ...) differ by more than rounding.

    A model that changes its input in one pass of ten gives itself away in 47 % of the calls
    with five repeats, in three of ten in 88 %; one that draws anew for each sample, more often.

    Args:
        model: the classifier, frozen.
        x: the samples.
        usual: the logits of another pass of x, (B, K), computed in the same way; None takes one.
        repeats: passes that are compared with it, at most.

    Source: AutoAttack (Croce & Hein 2020), whose check looks at five passes of the batch.
    """
    usual = detached_logits(model, x) if usual is None else usual
    return not all(are_alike(usual, detached_logits(model, x)) for _ in range(repeats))


def are_alike(first: Tensor, second: Tensor) -> bool:
    """Return whether two answers (B, K) to the same samples differ by no more than rounding."""
    size = first.nan_to_num(0, 0, 0).abs().amax()
    return torch.allclose(first, second, rtol=0, atol=1e-4 * float(size), equal_nan=True)


def expected(forward: Classifier, passes: int) -> Classifier:
    """Return a forward pass that is the mean of several, or the pass itself for one."""
    return forward if passes == 1 else Expectation(partial(logits_of, forward), passes)


def _in_layout(forward: Classifier, layout: torch.memory_format) -> Classifier:
    return lambda x: logits_of(forward, x.contiguous(memory_format=layout))


def _in_bfloat16(forward: Classifier) -> Classifier:
    def half(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            return logits_of(forward, x)

    return half


# Subclasses may compute something else: what counts is whose method `forward` is.
_CONVOLUTIONS = (nn.Conv1d.forward, nn.Conv2d.forward, nn.Conv3d.forward)
_NORM = nn.BatchNorm2d.forward  # in one, two and three dimensions
Pair = tuple[nn.Module, nn.Module]
Forwards = Mapping[nn.Module, Callable[[Tensor], Tensor] | None]


def folded(
    model: nn.Module, x: Tensor, *, layout: torch.memory_format = torch.contiguous_format
) -> tuple[Tensor, Classifier | None]:
    """Return the logits of x (B, ...), and the model with its batch norms folded.

    A batch norm is folded if in this pass it was called once, on the output of a convolution
    called once. Whether something else uses that output is not seen: compare the answers. The
    model's own code runs as before, hooks included, and the model is as before between passes.

    Args:
        model: the classifier, already `frozen`.
        x: some samples, (B, ...).
        layout: in memory, of the folded weights.

    Returns:
        The logits (B, K), and the folded forward pass; None where there is nothing to fold, or
        where torch.compile would take each change of a module for a reason to compile anew.
    """
    if any(map(is_compiled, model.modules())):
        return detached_logits(model, x), None
    logits, pairs = _observed(model, x)
    if not pairs:
        return logits, None
    forwards: dict[nn.Module, Callable[[Tensor], Tensor] | None] = {}
    with torch.no_grad():
        for convolution, norm in pairs:
            forwards |= {convolution: _merged(convolution, norm, layout), norm: _identity}
    return logits, partial(_logits_with, forwards, model)


def _logits_with(forwards: Forwards, model: nn.Module, x: Tensor) -> Tensor:
    with replace_forwards(forwards):
        return logits_of(model, x)


@contextmanager
def replace_forwards(forwards: Forwards) -> Iterator[None]:
    """Let modules compute these functions in the body; None stands for the method of the class."""
    before = {module: module.__dict__.get("forward") for module in forwards}
    _assign(forwards)
    try:
        yield
    finally:
        _assign(before)


def _assign(forwards: Forwards) -> None:
    for module, forward in forwards.items():
        if forward is None:
            module.__dict__.pop("forward", None)
        else:
            module.__dict__["forward"] = forward  # it hides the method of the class


def is_compiled(module: nn.Module) -> bool:
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


def _merged(convolution: Any, norm: Any, layout: torch.memory_format) -> Callable[[Tensor], Tensor]:
    """Merge a convolution and the norm of its output into one convolution."""
    weight, bias = fuse_conv_bn_weights(
        convolution.weight, convolution.bias, norm.running_mean, norm.running_var, norm.eps,
        norm.weight, norm.bias,
    )  # fmt: skip
    weights = weight.detach()
    if _CHANNELS_LAST.get(weights.ndim) == layout:
        weights = weights.contiguous(memory_format=layout)
    # This method of a convolution pads, in each of its padding modes.
    return partial(convolution._conv_forward, weight=weights, bias=bias.detach())


def _identity(x: Tensor) -> Tensor:
    return x
