"""A classifier as an attack calls it: quick on this device, in bfloat16 or compiled where asked."""

from typing import cast

import torch
from torch import Tensor, nn

from attacks.common.folding import folded
from attacks.common.goal import Classifier, logits_of
from attacks.common.warnings import REPEATS, are_alike, is_random

_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
_FEW = 2  # passes, those of a single step
_COMPLAINTS = ("contiguous", "stride", "view", "layout")  # words of who wants the default layout


def prepared(
    model: nn.Module,
    x: Tensor,
    *,
    passes: int | None = None,
    bf16: bool = False,
    compiled: bool = False,
) -> tuple[Classifier, bool]:
    """Return the model's forward pass, left in float32 and uncompiled unless asked.

    On a CPU two things make it quicker, each where it changes no answer to two of the samples.
    They come in channels-last: in the default layout oneDNN reorders what goes into and comes
    out of every convolution. And batch norms are `folded`. On networks of up to 64 channels a
    pass and its gradient then take half the time.

    Args:
        model: the classifier, already `frozen`.
        x: samples, (B, ...), two of which are tried.
        passes: how many passes of the model follow, at most; None for many. Of a few, folding is
            not worth its while, and the look for chance takes half as many, at least one.
        bf16: run it under bfloat16 autocast. float16 is not offered: it turned the gradients
            of whole samples to zero.
        compiled: run it through torch.compile, as it is.

    Returns:
        The forward pass, and whether the model is random, see `diagnosis.is_random`: asked of the
        pass that is returned, so that what the layout changes is not taken for chance.
    """
    some, forward = x[:2], cast(Classifier, torch.compile(model)) if compiled else model
    layout = _CHANNELS_LAST.get(x.ndim) if x.device.type == "cpu" and not compiled else None
    quicker: list[Classifier] = []
    if layout and (passes is None or passes > _FEW):
        usual, fold = folded(model, some)
        quicker += [_in_layout(fold, layout)] if fold else []
    else:
        with torch.no_grad():
            usual = logits_of(model, some)
    quicker += [_in_layout(model, layout)] if layout else []
    chosen = next((c for c in quicker if _agrees(c, some, usual)), None)
    repeats = REPEATS if passes is None else min(REPEATS, max(1, passes // 2))
    random = is_random(chosen or model, some, usual=usual, repeats=repeats)
    chosen = chosen or forward
    return _in_bfloat16(chosen) if bf16 else chosen, random


def _agrees(forward: Classifier, x: Tensor, usual: Tensor) -> bool:
    """Return whether a forward pass gives x (B, ...) the usual logits (B, K).

    A model that calls `view` on its features, or insists on the default layout, does not.
    """
    with torch.no_grad():
        try:
            return are_alike(usual, logits_of(forward, x))
        except Exception as error:
            if isinstance(error, AssertionError) or any(word in str(error) for word in _COMPLAINTS):
                return False
            raise


def _in_layout(forward: Classifier, layout: torch.memory_format) -> Classifier:
    return lambda x: logits_of(forward, x.contiguous(memory_format=layout))


def _in_bfloat16(forward: Classifier) -> Classifier:
    def half(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            return logits_of(forward, x)

    return half
