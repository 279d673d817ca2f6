"""A classifier as an attack calls it: quick on this device, in bfloat16 or compiled where asked."""

from typing import cast

import torch
from torch import Tensor, nn

from attacks.goal import Classifier

_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def prepared(model: nn.Module, *, bf16: bool = False, compiled: bool = False) -> Classifier:
    """Return the model's forward pass, left in float32 and uncompiled unless asked.

    Args:
        model: the classifier, already `frozen`.
        bf16: run it under bfloat16 autocast. float16 is not offered: it turned the gradients
            of whole samples to zero.
        compiled: run it through torch.compile.
    """
    forward = cast(Classifier, torch.compile(model)) if compiled else ChannelsLast(model)
    return _in_bfloat16(forward) if bf16 else forward


class ChannelsLast:
    """Hands a model its samples in channels-last on a CPU, until it refuses them.

    The answers are the same. In the default layout oneDNN reorders what goes into and comes out
    of every convolution, which made a pass and its gradient take 1.4 times as long on networks
    of up to 64 channels, and 1.2 times on a MobileNet. A model that calls `view` on its
    features refuses the layout, and gets the default one from then on.
    """

    def __init__(self, model: nn.Module) -> None:
        """Begin without knowing whether the model refuses."""
        self.model, self.refused = model, False

    def __call__(self, x: Tensor) -> Tensor:
        """Return the model's answer to samples (B, ...)."""
        if self.refused or x.device.type != "cpu" or x.ndim not in _CHANNELS_LAST:
            return cast(Tensor, self.model(x))
        try:
            return cast(Tensor, self.model(x.contiguous(memory_format=_CHANNELS_LAST[x.ndim])))
        except RuntimeError as error:
            if "contiguous" not in str(error):  # as `view` says, and most who check themselves
                raise
            self.refused = True
            return cast(Tensor, self.model(x))


def _in_bfloat16(forward: Classifier) -> Classifier:
    def half(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            return forward(x)

    return half
