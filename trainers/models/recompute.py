"""Activations made again in the backward pass instead of kept: time for memory."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Forwards = dict[nn.Module, Callable[[Tensor], Tensor]]


def recomputed(module: nn.Module, x: Tensor) -> Tensor:
    """Call a module without dropout, in eval mode, keeping only x; it runs again when needed.

    Attacks fold batch norms by other forward methods, and take those off before the gradient is
    asked for. The second run is with the methods of the first, or it would be another function.

    Args:
        module: what to call; it must draw no random numbers and write no buffers.
        x: its input, (B, ...).
    """
    kept = {m: m.__dict__["forward"] for m in module.modules() if "forward" in m.__dict__}
    output: Tensor = checkpoint(
        module,
        x,
        use_reentrant=False,
        preserve_rng_state=False,
        context_fn=lambda: (nullcontext(), _with_forwards(module, kept)),
    )
    return output


@contextmanager
def _with_forwards(module: nn.Module, forwards: Forwards) -> Iterator[None]:
    """Let the modules within have these forward methods of their own, and no others."""
    now = {m: m.__dict__.pop("forward") for m in module.modules() if "forward" in m.__dict__}
    _assign(forwards)
    try:
        yield
    finally:
        for inner in forwards:
            del inner.__dict__["forward"]
        _assign(now)


def _assign(forwards: Forwards) -> None:
    for module, forward in forwards.items():
        module.__dict__["forward"] = forward
