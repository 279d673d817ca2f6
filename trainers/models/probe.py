"""One cheap forward pass that tells whether a model can be used as a classifier."""

import logging
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attacks.common.frozen import call, frozen
from attacks.common.goal import are_probabilities
from attacks.errors import RefusedInput

_LOG = logging.getLogger(__name__)


def probe_classifier(
    model: nn.Module, shape: Sequence[int], num_classes: int | None = None
) -> list[str]:
    """Check what ``model`` makes of two samples, a black one and a grey one.

    Args:
        model: the classifier; left as it was.
        shape: (C, H, W) or (C, T, H, W) of one sample.
        num_classes: K; None accepts any number above 1.

    Returns:
        Warnings, which are logged too: outputs that look like probabilities.

    Raises:
        RefusedInput: when the forward pass fails, or gives anything but finite floating-point
            logits (B, num_classes).
    """
    logits, name = _forward(model, shape), type(model).__name__
    _check(name, logits, num_classes)
    if not are_probabilities(logits):
        return []
    warning = (
        f"the outputs of {name} lie in [0, 1] and sum to 1, as after a softmax; attacks and losses "
        "expect logits: remove the softmax at the model's end"
    )
    _LOG.warning(warning)
    return [warning]


def _forward(model: nn.Module, shape: Sequence[int]) -> Tensor:
    device = next((t.device for t in model.parameters()), torch.device("cpu"))
    levels = torch.tensor([0.0, 0.5], device=device)
    x = levels.view(2, *[1] * len(shape)).expand(2, *shape).contiguous()  # (2, C, ...)
    try:
        with frozen(model), torch.no_grad():
            output: Tensor = call(model, x)
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise RefusedInput(
            f"{type(model).__name__} fails on samples of shape {tuple(shape)} ({reason}); give a "
            "model for this shape, or resize the samples (--size, for videos --frames too)"
        ) from error
    return output


def _check(name: str, logits: Tensor, num_classes: int | None) -> None:
    seen = tuple(logits.shape) if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
    if seen in ((2,), (2, 1)):
        raise RefusedInput(
            f"{name} returns a single logit a sample, and a classifier returns one a class; give "
            "--binary, or put it into trainers.models.BinaryLogits, which makes [0, z] of it"
        )
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != 2:
        raise RefusedInput(f"{name} maps 2 samples to {seen}; a classifier returns logits (2, K)")
    if not logits.is_floating_point():
        raise RefusedInput(f"{name} returns {logits.dtype}; a classifier returns float logits")
    if logits.shape[1] != num_classes and (num_classes or logits.shape[1] < 2):
        raise RefusedInput(
            f"{name} has {logits.shape[1]} classes and the data {num_classes or 'at least 2'}; "
            "give a model for this data, or the matching --num-classes or --classes"
        )
    if not bool(torch.isfinite(logits).all()):
        raise RefusedInput(
            f"{name} returns NaN or infinity on a black and a grey sample; check its weights"
        )
