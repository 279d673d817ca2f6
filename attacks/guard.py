"""Use a classifier without leaving a trace on it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Run the body with `model` in eval mode, gradients on and parameters constant.

    On the way out, also after an error, everything is as before: each module's training flag,
    each parameter's requires_grad, buffers (object and content), the torch RNG states and the
    grad, inference and autocast modes; buffers the body added are gone. Constant parameters
    spare the memory of the activations that only weight gradients need.
    """
    # What was made in inference mode can never require a gradient again, and takes none.
    parameters = [p for p in model.parameters() if p.requires_grad and not p.is_inference()]
    flags = [(module, module.training) for module in model.modules()]
    buffers = [_Buffers.of(module) for module, _ in flags]
    devices = {t.device for t in (*model.parameters(), *model.buffers())}
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        cuda = sorted(d.index for d in devices if d.type == "cuda")
        stack.enter_context(torch.random.fork_rng(devices=cuda))
        for kind in filter(torch.is_autocast_enabled, ("cpu", "cuda")):
            stack.enter_context(torch.autocast(kind, enabled=False))
        try:
            for module, _ in flags:
                module.training = False
            for parameter in parameters:
                parameter.requires_grad_(False)
            yield
        finally:
            for module, training in flags:
                module.training = training
            for parameter in parameters:
                parameter.requires_grad_(True)
            with torch.no_grad():
                for saved in buffers:
                    saved.restore()


@dataclass(frozen=True)
class _Buffers:
    """The buffers of one module: the objects, and copies of their content."""

    module: nn.Module
    objects: dict[str, Tensor | None]
    contents: dict[str, Tensor]

    @classmethod
    def of(cls, module: nn.Module) -> "_Buffers":
        """Remember the buffers of `module` as they are now."""
        given = dict(module._buffers)
        copies = {name: b.detach().clone() for name, b in given.items() if b is not None}
        return cls(module, given, copies)

    def restore(self) -> None:
        """Put back the objects, and the content of those that changed."""
        if not isinstance(self.module, torch.jit.ScriptModule):  # which cannot gain or lose any
            self.module._buffers.clear()
            self.module._buffers.update(self.objects)
        for name, buffer in self.objects.items():
            if buffer is None:
                continue
            if buffer.grad_fn is not None:
                buffer.detach_()  # it was written a function of x
            if not torch.equal(buffer, self.contents[name]):
                buffer.copy_(self.contents[name])
