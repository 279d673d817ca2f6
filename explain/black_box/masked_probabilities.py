"""The answers of a classifier to samples of which masks leave only parts to see."""

from collections.abc import Callable

import torch
from torch import Tensor

from explain.class_scores import probabilities
from explain.method import ExplanationCall

Masks = Callable[[int, int], Tensor]  # numbers [first, last) to masks (last - first, *sides)


def masked_probabilities(
    call: ExplanationCall, masks: Masks, *, count: int, fill: float, chunk: int
) -> Tensor:
    """Return the probability of class y of each sample under each mask, (B, count).

    Where the logits are not finite it is 0.

    Args:
        call: the arguments of the method.
        masks: returns the masks with these numbers; 1 shows a pixel, 0 puts `fill` in its place.
        count: how many masks there are.
        fill: a pixel's value where nothing is to be seen.
        chunk: masked samples in a pass, which bounds the memory.
    """
    samples = len(call.x)
    found = call.x.new_empty(count * samples)  # mask by mask
    for start in range(0, len(found), chunk):
        pairs = torch.arange(start, min(start + chunk, len(found)), device=call.x.device)
        number, sample = pairs // samples, pairs % samples  # (N,)
        first, last = start // samples, (start + len(pairs) - 1) // samples + 1
        shown = masks(first, last)[number - first, None].to(call.x)  # (N, 1, *sides)
        masked = call.x[sample] * shown + fill * (1 - shown)  # (N, C, *sides)
        shares = probabilities(call.forward, masked, call.y[sample], chunk=chunk)
        found[pairs] = shares.nan_to_num(0)
        call.progress(start + len(pairs), len(found))
    return found.view(count, samples).T
