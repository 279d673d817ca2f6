"""A classifier as an attack calls it: in bfloat16 where asked, compiled where asked."""

from typing import cast

import torch
from torch import Tensor, nn

from attacks.goal import Classifier


def prepared(model: nn.Module, *, bf16: bool, compiled: bool) -> Classifier:
    """Return the model's forward pass, left in float32 and uncompiled unless asked.

    Args:
        model: the classifier, already `frozen`.
        bf16: run it under bfloat16 autocast. float16 is not offered: it turned the gradients
            of whole samples to zero.
        compiled: run it through torch.compile.
    """
    forward = cast(Classifier, torch.compile(model)) if compiled else model
    return _in_bfloat16(forward) if bf16 else forward


def _in_bfloat16(forward: Classifier) -> Classifier:
    def half(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            return forward(x)

    return half
