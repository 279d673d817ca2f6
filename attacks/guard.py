"""Use a classifier without leaving a trace on it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Run the body with `model` in eval mode, gradients on and parameters constant.

    On the way out, also after an error, everything is as before: each module's training flag,
    each parameter's requires_grad, buffers (object and content), the torch RNG states and the
    grad, inference and autocast modes. Constant parameters spare the memory of the activations
    that only weight gradients need.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    flags = [(module, module.training) for module in model.modules()]
    buffers = _snapshot(model)
    devices = {t.device for t in (*model.parameters(), *model.buffers())}
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        cuda = sorted(d.index for d in devices if d.type == "cuda")
        stack.enter_context(torch.random.fork_rng(devices=cuda))
        for kind in sorted({d.type for d in devices} & {"cpu", "cuda"}):
            stack.enter_context(torch.autocast(kind, enabled=False))
        try:
            for module, _ in flags:
                module.training = False
            for parameter in parameters:
                parameter.requires_grad_(False)
            yield
        finally:
            for parameter in parameters:
                parameter.requires_grad_(True)
            for module, training in flags:
                module.training = training
            _restore(buffers)


_Buffer = tuple[nn.Module, str, Tensor, Tensor]


def _snapshot(model: nn.Module) -> list[_Buffer]:
    """List each buffer of each module with a copy of its content."""
    return [
        (module, name, buffer, buffer.detach().clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]


def _restore(buffers: list[_Buffer]) -> None:
    """Put back the buffer objects, and the content of those that changed."""
    with torch.no_grad():
        for module, name, buffer, content in buffers:
            module._buffers[name] = buffer
            if not torch.equal(buffer, content):
                buffer.copy_(content)
