"""A classifier as an attack calls it: quick on this device, in bfloat16 or compiled where asked."""

from typing import cast

import torch
from torch import Tensor, nn

from attacks.diagnosis import are_alike, is_random
from attacks.goal import Classifier, logits_of

_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
_COMPLAINTS = ("contiguous", "stride", "view", "layout")  # words of who wants the default layout


def prepared(
    model: nn.Module, x: Tensor, *, bf16: bool = False, compiled: bool = False
) -> tuple[Classifier, bool]:
    """Return the model's forward pass, left in float32 and uncompiled unless asked.

    On a CPU it hands the model its samples in channels-last if that changes no answer: in the
    default layout oneDNN reorders what goes into and comes out of every convolution, which made
    a pass and its gradient take 1.4 times as long on networks of up to 64 channels, and 1.2 times
    on a MobileNet.

    Args:
        model: the classifier, already `frozen`.
        x: samples, (B, ...), two of which are tried.
        bf16: run it under bfloat16 autocast. float16 is not offered: it turned the gradients
            of whole samples to zero.
        compiled: run it through torch.compile, in the default layout.

    Returns:
        The forward pass, and whether the model is random, see `is_random`.
    """
    layout = _CHANNELS_LAST.get(x.ndim) if x.device.type == "cpu" else None
    random = is_random(model, x) if layout is None else not _takes(model, x[:2], layout)
    if layout and random:  # it is, or it only does not take the layout
        layout, random = None, is_random(model, x)
    forward: Classifier = model
    if compiled:
        forward = cast(Classifier, torch.compile(model))
    elif layout:
        forward = _in_layout(model, layout)
    return _in_bfloat16(forward) if bf16 else forward, random


def _takes(model: nn.Module, x: Tensor, layout: torch.memory_format) -> bool:
    """Return whether the model gives x (B, ...) the same answer in another layout.

    One that calls `view` on its features, or insists on the default layout, does not.
    """
    with torch.no_grad():
        usual = logits_of(model, x)
        try:
            other = logits_of(model, x.contiguous(memory_format=layout))
        except Exception as error:
            if isinstance(error, AssertionError) or any(word in str(error) for word in _COMPLAINTS):
                return False
            raise
    return are_alike(usual, other)


def _in_layout(forward: Classifier, layout: torch.memory_format) -> Classifier:
    return lambda x: forward(x.contiguous(memory_format=layout))


def _in_bfloat16(forward: Classifier) -> Classifier:
    def half(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            return forward(x)

    return half
