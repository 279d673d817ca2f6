"""The outputs of one layer of a classifier."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from attacks.common.frozen import frozen
from attacks.common.goal import logits_of

RECTIFIERS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Hardswish)


def last_rectifier(model: nn.Module, x: Tensor) -> str:
    """Return the name of the last ReLU (or its like) that a pass of x (B, ...) calls.

    Raises:
        ValueError: when there is none.
    """
    called: list[str] = []
    with ExitStack() as stack:
        for name, module in model.named_modules():
            if isinstance(module, RECTIFIERS):
                hook = module.register_forward_hook(lambda *_, name=name: called.append(name))
                stack.callback(hook.remove)
        stack.enter_context(frozen(model))
        stack.enter_context(torch.no_grad())
        logits_of(model, x)
    if not called:
        raise ValueError(
            f"no module of {type(model).__name__} is a ReLU; name a layer whose outputs to look "
            "at with --layer"
        )
    return called[-1]


@contextmanager
def layer_outputs(model: nn.Module, layer: str) -> Iterator[list[Tensor]]:
    """Collect in the body what a layer returns in each pass, flat, (B, D) each.

    Raises:
        ValueError: when the model has no such layer.
    """
    modules = dict(model.named_modules())
    if layer not in modules or not layer:
        raise ValueError(
            f"layer is {layer!r}; the model's layers are {', '.join(filter(None, modules))}"
        )
    outputs: list[Tensor] = []

    def note(module: nn.Module, args: object, output: Tensor) -> None:
        outputs.append(output.flatten(1).clone())  # what follows may write into it

    hook = modules[layer].register_forward_hook(note)
    try:
        yield outputs
    finally:
        hook.remove()


def activations_of(model: nn.Module, layer: str, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logits (B, K) of x (B, ...) and the last output of a layer in that pass, (B, D).

    Gradients flow through both.

    Raises:
        ValueError: when the model has no such layer, does not call it, or calls it with other than
            a row for each sample.
    """
    with layer_outputs(model, layer) as outputs:
        logits = logits_of(model, x)
    if not outputs:
        raise ValueError(f"layer {layer!r} was not called; name one that a pass goes through")
    if len(outputs[-1]) != len(x):
        raise ValueError(
            f"layer {layer!r} returns {len(outputs[-1])} rows of {len(x)} samples; name one with a "
            "row for each, in front of a model that averages over several"
        )
    return logits, outputs[-1]
