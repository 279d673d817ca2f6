"""How a classifier is called: with a copy of the samples, in its own precision, for its logits."""

import logging
import weakref
from collections.abc import Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

_LOG = logging.getLogger(__name__)
_TOLD: weakref.WeakSet[nn.Module] = weakref.WeakSet()  # whose unwrapping was logged


def call(model: nn.Module, x: Tensor) -> Any:
    """Return what a classifier gives to a copy of x, its logits alone where there is more.

    The model may change or keep the copy; of its answer the caller takes a copy as well.

    Args:
        model: the classifier.
        x: samples, (B, ...); those of a model in another precision come in its own.
    """
    dtype = own_dtype(model) or x.dtype
    # In the layout of x; of a leaf that requires a gradient the copy may be written to.
    return unwrapped(model, model(x.clone() if dtype == x.dtype else x.to(dtype)))


def own_dtype(model: nn.Module) -> torch.dtype | None:
    """Return the precision of a model's first weights, or None where it has none.

    >>> own_dtype(nn.Linear(1, 2).bfloat16()), own_dtype(nn.Flatten())
    (torch.bfloat16, None)
    """
    held = chain(model.parameters(), model.buffers())
    found = next((t.dtype for t in held if t.is_floating_point()), None)
    if found is None and isinstance(model, torch.jit.ScriptModule):
        return _constant_dtype(model)
    return found


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
