"""A classifier as an attack calls it: quick on this device, in bfloat16 or compiled where asked."""

from typing import cast

import torch
from torch import Tensor, nn

from attacks.goal import Classifier, logits_of

_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
_COMPLAINTS = ("contiguous", "stride", "view", "layout")  # words of who wants the default layout


def prepared(
    model: nn.Module, x: Tensor, *, bf16: bool = False, compiled: bool = False
) -> Classifier:
    """Return the model's forward pass, left in float32 and uncompiled unless asked.

    On a CPU it hands the model its samples in channels-last if that changes no answer: in the
    default layout oneDNN reorders what goes into and comes out of every convolution, which made
    a pass and its gradient take 1.4 times as long on networks of up to 64 channels, and 1.2 times
    on a MobileNet.

    Args:
        model: the classifier, already `frozen`.
        x: samples, (B, ...), two of which are tried in both layouts.
        bf16: run it under bfloat16 autocast. float16 is not offered: it turned the gradients
            of whole samples to zero.
        compiled: run it through torch.compile, in the default layout.
    """
    forward = cast(Classifier, torch.compile(model)) if compiled else _quick(model, x)
    return _in_bfloat16(forward) if bf16 else forward


def _quick(model: nn.Module, x: Tensor) -> Classifier:
    layout = _CHANNELS_LAST.get(x.ndim)
    if layout is None or x.device.type != "cpu" or not _takes(model, x[:2], layout):
        return model
    return lambda x: cast(Tensor, model(x.contiguous(memory_format=layout)))


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
    size = usual.nan_to_num(0, 0, 0).abs().amax()
    return torch.allclose(usual, other, rtol=0, atol=1e-4 * float(size), equal_nan=True)


def _in_bfloat16(forward: Classifier) -> Classifier:
    def half(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            return forward(x)

    return half
