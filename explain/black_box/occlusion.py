"""Occlusion: how much the probability of a class falls as a window hides parts of a sample."""

from dataclasses import dataclass
from math import ceil, prod
from typing import Annotated

import torch
from torch import Tensor

from attacks.common.options import Count, Share, between
from explain.black_box.masked_probabilities import masked_probabilities
from explain.class_scores import probabilities
from explain.method import ExplanationCall, ExplanationMethod


@dataclass(frozen=True)
class Occlusion(ExplanationMethod):
    """The mean fall of a class's probability over the windows that hide a pixel.

    A window slides over the sample, of videos over the frames as well; the last ones of a row may
    reach beyond the border. In a pixel all channels are hidden.

    Args:
        window: its side, in pixels (frames) as a whole number, or as a share of the sample's.
        stride: from one window to the next, in pixels or as a share of the sample's side; no
            longer than the window.
        fill: what is to be seen in the window, in [0, 1]; 0.5 is grey.
        chunk: samples in a pass.

    Source: Zeiler & Fergus 2014, section 4.2.
    """

    window: Count | Share = 0.2
    stride: Count | Share = 0.1
    fill: Annotated[float, between(0, 1)] = 0.5
    chunk: Count = 64

    def explain(self, call: ExplanationCall) -> Tensor:
        """Return the heat maps, (B, H, W) or (B, T, H, W).

        Raises:
            ValueError: for a stride beyond the window, which would leave pixels out.
        """
        hidden = [self._windows(side).to(call.x.device) for side in call.x.shape[2:]]
        places = [len(each) for each in hidden]  # of windows, by axis

        def masks(first: int, last: int) -> Tensor:
            return ~_boxes(hidden, torch.arange(first, last, device=call.x.device))

        whole = probabilities(call.forward, call.x, call.y, chunk=self.chunk)  # (B,)
        left = masked_probabilities(
            call, masks, count=prod(places), fill=self.fill, chunk=self.chunk
        )
        fall = (whole[:, None] - left).view(-1, *places)  # (B, windows of each axis)
        for axis in hidden:  # each mean puts an axis of pixels behind, for one of windows
            shares_of_window = (axis / axis.sum(0)).to(call.x)  # (windows, side)
            fall = torch.tensordot(fall, shares_of_window, dims=([1], [0]))
        return fall  # (B, *sides)

    def _windows(self, side: int) -> Tensor:
        """Return which pixels of a side each window hides, bool (windows, side)."""
        window, stride = _pixels(self.window, side), _pixels(self.stride, side)
        if stride > window:
            raise ValueError(
                f"stride {self.stride} is {stride} pixels of a side of {side}, longer than the "
                f"window {self.window} with {window}, and what lies between is never hidden; give "
                "a stride no longer than the window"
            )
        count = ceil(max(side - window, 0) / stride) + 1
        starts = torch.arange(count)[:, None] * stride  # (windows, 1)
        place = torch.arange(side)
        return (starts <= place) & (place < starts + window)


def _pixels(length: float, side: int) -> int:
    """Return a length in pixels: a whole number is that already, another is a share of the side.

    >>> _pixels(3, 8), _pixels(0.5, 8), _pixels(0.01, 8), _pixels(1.0, 8)
    (3, 4, 1, 8)
    """
    return int(length) if hasattr(length, "__index__") else max(round(length * side), 1)


def _boxes(axes: list[Tensor], numbers: Tensor) -> Tensor:
    """Return the windows with these numbers (N,), bool (N, *sides); the last axis moves first.

    Args:
        axes: which pixels of each axis its windows hide, bool (windows, side).
        numbers: from 0 to the product of the windows of the axes.
    """
    boxes = torch.ones_like(numbers, dtype=torch.bool)  # (N,)
    indices = torch.unravel_index(numbers, [len(axis) for axis in axes])
    for axis, index in zip(axes, indices, strict=True):
        row = axis[index].view(len(numbers), *[1] * (boxes.ndim - 1), -1)  # (N, 1, ..., side)
        boxes = boxes[..., None] & row  # (N, ..., side)
    return boxes
