"""Use a classifier without changing the classifier or the samples given to it."""

import logging
import random
import weakref
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_LOG = logging.getLogger(__name__)
_TOLD: weakref.WeakSet[nn.Module] = weakref.WeakSet()  # whose unwrapping was logged
_TABLES = ("_parameters", "_buffers")  # where a module keeps them


@contextmanager
def frozen(model: nn.Module, *, seed: int | None = None) -> Iterator[None]:
    """Run the body with `model` in eval mode, gradients on and parameters constant.

    On the way out, also after an error, everything is as before: each module's training flag,
    parameters and buffers (object, content, requires_grad and grad), the RNG states of torch,
    Python and NumPy, and the grad, inference and autocast modes; parameters and buffers that the
    body added are gone. Constant parameters spare the memory of the activations that only weight
    gradients need. They are also why torch's re-entrant checkpoints, which know `backward` alone,
    can be let take part in a gradient.

    Args:
        model: the classifier.
        seed: of the global generators in the body, from which a random model draws; None lets
            them go on.

    Raises:
        ValueError: when `model` is no module.
    """
    check_module(model)
    modules = list(model.modules())
    # A frozen TorchScript module has no such flag.
    flags = [(m, m.training) for m in modules if hasattr(m, "training")]
    # What a ScriptModule holds is fixed.
    plain = [m for m in modules if not isinstance(m, torch.jit.ScriptModule)]
    tables = [(getattr(m, name), dict(getattr(m, name))) for m in plain for name in _TABLES]
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        held = [_Held.of(tensor) for tensor in (*model.parameters(), *model.buffers())]
        devices = {each.tensor.device for each in held}
        cuda = sorted(d.index for d in devices if d.type == "cuda")
        stack.enter_context(torch.random.fork_rng(devices=cuda))
        stack.callback(random.setstate, random.getstate())
        stack.callback(np.random.set_state, np.random.get_state())  # noqa: NPY002
        if seed is not None:
            seed_generators(seed, cuda)
        for kind in filter(torch.is_autocast_enabled, ("cpu", "cuda")):
            stack.enter_context(torch.autocast(kind, enabled=False))
        stack.enter_context(reentrant_checkpoints())
        try:
            for module, _ in flags:
                module.training = False
            for each in held:
                each.make_constant()
            yield
        finally:
            for module, training in flags:
                module.training = training
            for table, before in tables:  # in their order, and none else stays
                table.clear()
                table.update(before)
            with torch.no_grad():
                for each in held:
                    each.restore()


def seed_generators(seed: int, cuda: list[int]) -> None:
    """Seed the global generators of torch, those of CUDA devices by number, Python and NumPy."""
    torch.default_generator.manual_seed(seed)
    for number in cuda:
        torch.cuda.default_generators[number].manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002


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
def reentrant_checkpoints() -> Iterator[None]:
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
class _Held:
    """A parameter or buffer.

    Attributes:
        tensor: the object.
        place: the memory it lies in.
        content: a copy; None of a kind of parameter that torch itself does not make, such as those
            of quantised or distributed models, which may not be copied or compared.
        grad: its gradient.
        grad_fn: what computed it, of a leaf None.
        requires_grad: whether it asks for a gradient.
    """

    tensor: Tensor
    place: Tensor
    content: Tensor | None
    grad: Tensor | None
    grad_fn: object
    requires_grad: bool

    @classmethod
    def of(cls, tensor: Tensor) -> "_Held":
        """Record a tensor with its content, flags and gradient."""
        place = tensor.detach()
        plain = type(tensor) in (Tensor, nn.Parameter) and tensor.layout is torch.strided
        content = place.clone() if plain else None
        grad = tensor.grad if tensor.is_leaf else None
        return cls(tensor, place, content, grad, tensor.grad_fn, tensor.requires_grad)

    def make_constant(self) -> None:
        """Stop gradients at the tensor, and hide its own from the body."""
        # What was made in inference mode can never require a gradient again, and takes none.
        if self.requires_grad and self.tensor.is_leaf and not self.tensor.is_inference():
            self.tensor.requires_grad_(False)
        if self.grad is not None:
            self.tensor.grad = None

    def restore(self) -> None:
        """Put everything back that has changed."""
        tensor = self.tensor
        if tensor.grad_fn is not self.grad_fn:
            tensor.detach_()  # it was written a function of x
        if self.content is not None:
            if not tensor.is_set_to(self.place):
                tensor.data = self.place
            if not torch.equal(tensor, self.content):
                tensor.copy_(self.content)
        if tensor.requires_grad != self.requires_grad:
            tensor.requires_grad_(self.requires_grad)
        if tensor.is_leaf and tensor.grad is not self.grad:
            tensor.grad = self.grad


def call(model: nn.Module, x: Tensor) -> Any:
    """Call a classifier on a copy of x, and return its logits.

    The model may change or keep the copy; of its answer the caller takes a copy as well.

    Args:
        model: the classifier.
        x: samples, (B, ...); those of a model in another precision come in its own.
    """
    dtype = own_dtype(model) or x.dtype
    # In the layout of x; of a leaf that requires a gradient the copy may be written to.
    return unwrapped(model, model(x.clone() if dtype == x.dtype else x.to(dtype)))


def own_dtype(model: nn.Module) -> torch.dtype | None:
    """Return the dtype of a model's first weights; None of a model without weights.

    >>> own_dtype(nn.Linear(1, 2).bfloat16()), own_dtype(nn.Flatten())
    (torch.bfloat16, None)
    """
    for name in _TABLES:  # quicker than `parameters()`, and asked in each pass
        for module in model.modules():
            for tensor in getattr(module, name).values():
                if tensor is not None and tensor.is_floating_point():
                    found: torch.dtype = tensor.dtype
                    return found
    return _constant_dtype(model) if isinstance(model, torch.jit.ScriptModule) else None


def unwrapped(model: nn.Module, output: Any) -> Any:
    """Return the logits of an answer that has them as `logits`, or as the first of several.

    That is what a model of the Hugging Face library returns, or one with auxiliary classifiers.
    Anything else is returned as it is. It is logged, once for a model.
    """
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        found, name = output.get("logits"), '["logits"]'
    elif isinstance(getattr(output, "logits", None), Tensor):
        found, name = output.logits, ".logits"
    else:
        first = output[0] if isinstance(output, (tuple, list)) and output else None
        is_matrix = isinstance(first, Tensor) and first.ndim == 2
        found, name = (first if is_matrix else None), "[0]"
    if not isinstance(found, Tensor):
        return output
    if model not in _TOLD:
        _TOLD.add(model)
        kind, shape = type(output).__name__, tuple(found.shape)
        _LOG.warning(
            "%s returns a %s; its %s %s are taken for the logits",
            type(model).__name__, kind, name, shape,
        )  # fmt: skip
    return found


def has_reentrant_checkpoint(output: Tensor) -> bool:
    """Tell whether an answer came through a checkpoint with use_reentrant=True."""
    ahead, seen = [output.grad_fn], set()
    while ahead:
        node = ahead.pop()
        if node is None or node in seen:
            continue
        if node.name().startswith("CheckpointFunction"):
            return True
        seen.add(node)
        ahead += [following for following, _ in node.next_functions]
    return False


def _constant_dtype(model: torch.jit.ScriptModule) -> torch.dtype | None:
    """Return the precision of the weights that freezing made constants of the graph."""
    graph: Any = model.inlined_graph  # whose type stubs are incomplete
    nodes = graph.findAllNodes("prim::Constant")
    values = (node.t("value") for node in nodes if node.kindOf("value") == "t")
    return next((t.dtype for t in values if t.is_floating_point() and t.ndim), None)
