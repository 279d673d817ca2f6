"""What the layers of a classifier return, by the names that `named_modules()` has for them."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from attacks.common.forward import are_alike
from attacks.common.frozen import frozen
from attacks.common.goal import logits_of

RECTIFIERS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Hardswish)
SEPARATOR = "+"  # between the names of several layers in one text
_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def last_rectifier(model: nn.Module, x: Tensor) -> str:
    """Return the name of the last ReLU (or its like) that a pass of x (B, ...) calls.

    Raises:
        ValueError: when there is none.
    """
    with frozen(model), torch.no_grad():
        called = called_layers(model, x, lambda module, _: isinstance(module, RECTIFIERS))
    if not called:
        raise ValueError(
            f"no module of {type(model).__name__} is a ReLU; name a layer whose outputs to look "
            "at with --layer"
        )
    return called[-1]


def last_hidden(model: nn.Module, x: Tensor) -> str:
    """Return the name of the last layer but one that a pass of x (B, ...) calls.

    In most classifiers that is the representation which the last linear layer reads. Layers whose
    outputs carry no gradient to x do not count. Of a model with a single layer it is "", the model
    itself, and of one in TorchScript, which lets nobody look inside.
    """

    def wanted(module: nn.Module, output: Any) -> bool:
        alone = not any(True for _ in module.children())
        return alone and getattr(output, "requires_grad", True)

    with frozen(model):
        called = called_layers(model, x.detach().requires_grad_(), wanted)
    return called[-2] if len(called) > 1 else ""


def called_layers(
    model: nn.Module, x: Tensor, wanted: Callable[[nn.Module, Any], bool]
) -> list[str]:
    """Return the names of the layers that a pass of x (B, ...) calls, in the order of their ends.

    Args:
        model: the classifier, `frozen`.
        x: samples.
        wanted: tells by a module and its output whether the layer counts.
    """
    called: list[str] = []

    def note(name: str, module: nn.Module, output: Any) -> None:
        if wanted(module, output):
            called.append(name)

    with ExitStack() as stack:
        for name, module in model.named_modules():
            if not isinstance(module, torch.jit.ScriptModule):
                hook = module.register_forward_hook(
                    lambda own, _, output, name=name: note(name, own, output)
                )
                stack.callback(hook.remove)
        logits_of(model, x)
    return called


def find_layers(model: nn.Module, names: str) -> list[str]:
    """Return the whole names of layers, given as LAYER or LAYER+LAYER; "" is the model itself.

    A name may leave out what a wrapper put in front, where no other layer ends so.

    Raises:
        ValueError: when the model has no such layer, or several.

    >>> net = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(4, 2)))
    >>> find_layers(net, "0+1.0")
    ['0', '1.0']
    """
    modules = [name for name, _ in model.named_modules() if name]
    found: list[str] = []
    if not names:
        return [""]
    for name in names.split(SEPARATOR):
        ends = [each for each in modules if each == name]
        ends = ends or [each for each in modules if name and each.endswith(f".{name}")]
        if len(ends) != 1:
            seen = f"layer is {name!r}" + (f", which may be {' or '.join(ends)}" if ends else "")
            raise ValueError(f"{seen}; the model's layers are {', '.join(modules)}")
        found += ends
    return found


@contextmanager
def layer_outputs(model: nn.Module, layer: str) -> Iterator[list[Tensor]]:
    """Collect in the body what a layer returns in each call of it, (B, ...) each.

    Raises:
        ValueError: when the model has no such layer.
    """
    outputs: list[Tensor] = []

    def note(module: nn.Module, args: object, output: Any) -> None:
        outputs.append(_tensor(output, layer).clone())  # what follows may write into it

    (name,) = find_layers(model, layer)
    hook = model.get_submodule(name).register_forward_hook(note)
    try:
        yield outputs
    finally:
        hook.remove()


def activations_of(model: nn.Module, layer: str, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logits (B, K) of x (B, ...) and the last output of a layer in that pass, (B, ...).

    Gradients flow through both.

    Raises:
        ValueError: when the model has no such layer, does not call it, or calls it with other than
            a row for each sample.
    """
    with layer_outputs(model, layer) as outputs:
        logits = logits_of(model, x)
    if not outputs:
        raise _not_called(layer)
    _check_rows(outputs[-1], len(x), layer)
    return logits, outputs[-1]


class Representation:
    """The outputs of some layers, from passes that go no further than the last of them.

    They are copies in the precision of the samples, for what follows may write into them. Where a
    layer is called several times in a pass, its last output counts. One that sees the
    frames of all clips as a batch returns as many rows for each clip: they become (B, T, ...). On
    a CPU samples come in channels-last, if that changes nothing.

    Attributes:
        layers: their whole names.
    """

    def __init__(self, model: nn.Module, layers: Sequence[str], x: Tensor) -> None:
        """Find out by passes of x[:2] how often each layer is called, and with how many rows.

        Args:
            model: the classifier, `frozen`.
            layers: names, as `find_layers` returns them.
            x: samples (B, ...).

        Raises:
            ValueError: for layers that are not called, or whose rows are not those of one sample
                after the other.
        """
        self.layers, self._model = list(layers), model
        modules = dict(model.named_modules())
        self._modules = {name: modules[name] for name in self.layers if name}
        for name, module in self._modules.items():
            if isinstance(module, torch.jit.ScriptModule):
                raise ValueError(
                    f"layer {name!r} is TorchScript, which lets nobody look inside; give the model "
                    "as it was before, or a layer in front"
                )
        self._calls, self._layout = Counter[str](), torch.contiguous_format
        with torch.no_grad():
            single = self._outputs(x[:1], whole=True)
            self._rows = [len(output) for output in single]
            usual = self(x[:2])
            for name, alone, both in zip(layers, self._by_sample(single, 1), usual, strict=True):
                if alone.shape != single[layers.index(name)].shape and not _same(alone, both[:1]):
                    raise ValueError(
                        f"layer {name!r} returns several rows a sample, and not those of one "
                        "sample after the other; name one with a row for each"
                    )
            if x.device.type == "cpu":
                self._try_channels_last(x[:2], usual)

    def __call__(self, x: Tensor) -> list[Tensor]:
        """Return the outputs (B, ...) of the layers for x (B, ...); gradients flow through them."""
        return self._by_sample(self._outputs(x, whole=False), len(x))

    def _try_channels_last(self, x: Tensor, usual: Sequence[Tensor]) -> None:
        """Let samples come in that layout if the layers answer as usual to x (B, ...) in it."""
        before, self._layout = self._layout, _CHANNELS_LAST[x.ndim]
        try:
            alike = all(map(_same, self(x), usual))
        except RuntimeError:  # the model asks for the default layout
            alike = False
        self._layout = self._layout if alike else before

    def _by_sample(self, outputs: Sequence[Tensor], samples: int) -> list[Tensor]:
        """Return a row for each sample of outputs with one or more."""
        pairs = list(zip(outputs, self._rows, strict=True))
        for name, (output, rows) in zip(self.layers, pairs, strict=True):
            _check_rows(output, rows * samples, name)
        return [
            out.reshape(samples, rows, *out.shape[1:]) if rows > 1 else out for out, rows in pairs
        ]

    def _outputs(self, x: Tensor, *, whole: bool) -> list[Tensor]:
        """Return the outputs for x; a `whole` pass goes to the end, and counts the calls."""
        outputs: dict[str, Tensor] = {}
        calls = Counter[str]()

        def note(name: str, output: Any) -> None:
            outputs[name] = _tensor(output, name).to(x.dtype, copy=True)
            calls[name] += 1
            if not (whole or "" in self.layers) and calls == self._calls:
                raise _Reached

        with ExitStack() as stack:
            for name, module in self._modules.items():
                hook = module.register_forward_hook(lambda _, a, out, name=name: note(name, out))
                stack.callback(hook.remove)
            with suppress(_Reached):
                outputs[""] = logits_of(self._model, x.contiguous(memory_format=self._layout))
        if whole:
            self._calls = calls
        for name in self.layers:
            if name not in outputs:
                raise _not_called(name)
        return [outputs[name] for name in self.layers]


class _Reached(Exception):
    """The pass went as far as it has to."""


def _same(first: Tensor, second: Tensor) -> bool:
    """Tell whether two outputs (B, ...) differ by no more than rounding."""
    return first.shape == second.shape and are_alike(first.flatten(1), second.flatten(1))


def _tensor(output: Any, layer: str) -> Tensor:
    """Return what a layer returned, or the first of several, as of an LSTM."""
    first = output[0] if isinstance(output, (tuple, list)) and output else output
    if isinstance(first, Tensor) and first.ndim:
        return first
    raise ValueError(f"layer {layer!r} returns a {type(output).__name__}; name one with a tensor")


def _check_rows(output: Tensor, rows: int, layer: str) -> None:
    """Raise ValueError unless an output has as many rows as it should."""
    if len(output) != rows:
        raise ValueError(
            f"layer {layer!r} returns {len(output)} rows of {rows} samples; name one with a row "
            "for each, in front of a model that averages over several"
        )


def _not_called(layer: str) -> ValueError:
    return ValueError(f"layer {layer!r} was not called; name one that a pass goes through")
