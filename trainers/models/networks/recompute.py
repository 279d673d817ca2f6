"""Activations made again in the backward pass instead of kept: time for memory."""

from contextlib import nullcontext

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from attacks.common.forward import replace_forwards


def recomputed(module: nn.Module, x: Tensor) -> Tensor:
    """Call a module without dropout, in eval mode, keeping only x; it runs again when needed.

    Attacks fold batch norms by other forward methods, and take those off before the gradient is
    asked for. The second run is with the methods of the first, or it would be another function.

    Args:
        module: what to call; it must draw no random numbers and write no buffers.
        x: its input, (B, ...).
    """
    forwards = {inner: inner.__dict__.get("forward") for inner in module.modules()}
    output: Tensor = checkpoint(
        module,
        x,
        use_reentrant=False,
        preserve_rng_state=False,
        context_fn=lambda: (nullcontext(), replace_forwards(forwards)),
    )
    return output
