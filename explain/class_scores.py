"""How much a classifier thinks of one class of each sample, and the gradient of that."""

from collections.abc import Callable

import torch
from torch import Tensor

from attacks.common.goal import Classifier, detached_logits, value_and_gradient

# Values of a pass on a CPU, 3 images of 224 x 224: what larger ones return falls out of the caches,
# and the system clears its memory anew for each layer. EfficientNet-Lite0 took twice as long.
CPU_VALUES = 2**19


def class_logits(logits: Tensor, y: Tensor) -> Tensor:
    """Return the logit of class y (B,) in logits (B, K), (B,)."""
    return logits.gather(1, y[:, None])[:, 0]


def logit_gradient(model: Classifier, x: Tensor, y: Tensor) -> Tensor:
    """Return the gradient of the logit of class y (B,) in samples x (B, ...), like x.

    Raises:
        ValueError: when the model's logits carry no gradient.
    """
    return value_and_gradient(model, x, lambda logits: class_logits(logits, y))[2]


def probabilities(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    *,
    chunk: int,
    tell: Callable[[int], object] | None = None,
) -> Tensor:
    """Return the softmax probability of class y (N,) for samples x (N, ...), (N,).

    Args:
        model: the classifier.
        x: samples in [0, 1].
        y: classes.
        chunk: samples in a pass, which bounds the memory; on a CPU fewer where they are large.
        tell: called with the number of samples done after each pass.
    """
    found = []
    if x.device.type == "cpu":
        chunk = min(chunk, max(1, CPU_VALUES // x[:1].numel()))
    for start in range(0, len(x), chunk):
        rows = slice(start, start + chunk)
        shares = detached_logits(model, x[rows]).softmax(1)  # (N', K)
        found.append(class_logits(shares, y[rows]))
        if tell:
            tell(min(start + chunk, len(x)))
    return torch.cat(found)
