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
    spare the memory of the activations that only weight gradients need. They are also why torch's
    re-entrant checkpoints, which know `backward` alone, can be let take part in a gradient.

    Raises:
        ValueError: when `model` is no module.
    """
    check_module(model)
    # What was made in inference mode can never require a gradient again, and takes none.
    parameters = [p for p in model.parameters() if p.requires_grad and not p.is_inference()]
    modules = list(model.modules())
    # A frozen TorchScript module has no such flag.
    flags = [(m, m.training) for m in modules if hasattr(m, "training")]
    buffers = [_Buffers.of(module) for module in modules]
    devices = {t.device for t in (*model.parameters(), *model.buffers())}
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        cuda = sorted(d.index for d in devices if d.type == "cuda")
        stack.enter_context(torch.random.fork_rng(devices=cuda))
        for kind in filter(torch.is_autocast_enabled, ("cpu", "cuda")):
            stack.enter_context(torch.autocast(kind, enabled=False))
        stack.enter_context(_reentrant_checkpoints())
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


def check_module(model: object) -> None:
    """Raise ValueError unless `model` is a module, whose state can be put back."""
    if isinstance(model, nn.Module):
        return
    seen = f"the class {model.__name__}" if isinstance(model, type) else f"a {type(model).__name__}"
    advice = "an instance of it" if isinstance(model, type) else "an nn.Module that calls it"
    if hasattr(model, "module"):  # as what torch.export returns
        advice = "what its .module() returns"
    raise ValueError(
        f"model is {seen}, and attacks take an nn.Module that returns logits (B, K): its training "
        f"flags and buffers are put back afterwards; give {advice}"
    )


@contextmanager
def _reentrant_checkpoints() -> Iterator[None]:
    """Let gradients go through checkpoints with use_reentrant=True.

    Torch refuses them outside of `backward`, since their own backward pass would write the
    gradients of weights to `.grad`; there is none to write while all parameters are constant.
    """
    refusing = torch.autograd._is_checkpoint_valid
    torch.autograd._is_checkpoint_valid = lambda: True
    try:
        yield
    finally:
        torch.autograd._is_checkpoint_valid = refusing


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
