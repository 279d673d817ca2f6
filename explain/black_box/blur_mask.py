"""Meaningful perturbation: the least part of a sample to blur for a class to go unseen."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from attacks.common.goal import check_differentiable, logits_of
from attacks.common.optimizers import Adam
from attacks.common.options import BelowOne, Count, NonNegative, Positive
from attacks.common.randomness import unit
from explain.class_scores import class_logits
from explain.crop import crop
from explain.gaussian_blur import gaussian_blur
from explain.method import ExplanationCall, ExplanationMethod

START = 0.5  # of the masks: neither shown nor blurred, so that no probability is saturated


@dataclass(frozen=True)
class MeaningfulPerturbation(ExplanationMethod):
    """How far each pixel is blurred by the mask that lowers a class's probability most cheaply.

    It minimises probability + area x mean(1 - mask) + tv x mean(|difference of neighbours|^3) over
    masks in [0, 1] by Adam, where 1 shows the sample and 0 its blurred copy. The gradient passes
    through the classifier. Of videos the mask varies over time, and frames are blurred in space.

    Args:
        steps: of Adam; a pass each for the whole batch.
        lr: Adam's.
        grid: values of a mask along each side (no more than pixels), interpolated between.
        area: what blurring everything costs, in units of probability. The paper's 1e-4 a value is
            0.08; 0.3 hid as much in half the steps, under masks a third smaller.
        tv: weight of the total variation; 8 is the paper's 1e-2 a value of 28 x 28.
        blur: standard deviation, as a share of the shorter side.
        jitter: by how much each step moves the sample behind its mask at most, as a share of each
            side; then masks do not rest on artefacts of single pixels.

    Source: Fong & Vedaldi 2017, eq. (4) and section 4.3.
    """

    steps: Count = 150
    lr: Positive = 0.1
    grid: Count = 28
    area: NonNegative = 0.3
    tv: NonNegative = 8.0
    blur: Positive = 0.045
    jitter: BelowOne = 0.02

    def explain(self, call: ExplanationCall) -> Tensor:
        """Return 1 - mask, (B, H, W) or (B, T, H, W)."""
        x, sides = call.x, call.x.shape[2:]
        blurred = gaussian_blur(x, sigma=self.blur * min(x.shape[-2:]))
        mask = x.new_full((len(x), 1, *(min(self.grid, side) for side in sides)), START)
        adam = Adam.like(mask)
        for step in range(self.steps):
            starts = _starts(sides, self.jitter, unit(x, call.generators, (len(sides),)))
            sharp, blunt = crop(x, starts, sides), crop(blurred, starts, sides)
            mask.requires_grad_()
            shown = _upsampled(mask, sides)  # (B, 1, ...)
            logits = logits_of(call.forward, blunt + shown * (sharp - blunt))
            check_differentiable(logits)
            cost = self.area * (1 - mask).flatten(1).mean(1) + self.tv * total_variation(mask)
            loss = class_logits(logits.softmax(1), call.y) + cost  # (B,)
            (gradient,) = torch.autograd.grad(loss.sum(), mask)
            change = adam.step(gradient.nan_to_num(0, 0, 0), number=step + 1, lr=self.lr)
            mask = (mask.detach() - change).clamp_(0, 1)
            call.progress(step + 1, self.steps)
        return 1 - _upsampled(mask, sides)[:, 0]


def total_variation(mask: Tensor) -> Tensor:
    """Return the mean cube of differences between neighbours in masks (B, 1, ...), (B,).

    The differences along each axis are summed, and divided by the number of values of a mask.

    Source: Fong & Vedaldi 2017, eq. (4), with beta 3.
    """
    total = mask.new_zeros(len(mask))
    for axis in range(2, mask.ndim):
        total = total + mask.diff(dim=axis).abs().pow(3).flatten(1).sum(1)
    return total / mask[0].numel()


def _starts(sides: torch.Size, jitter: float, numbers: Tensor) -> Tensor:
    """Return where moved samples start, int64 (B, axes), by U[0, 1) numbers (B, axes)."""
    reach = jitter * torch.tensor(sides, device=numbers.device)
    return ((2 * numbers - 1) * reach).round().long()


def _upsampled(mask: Tensor, sides: torch.Size) -> Tensor:
    """Return masks (B, 1, ...) as large as the samples, (B, 1, *sides)."""
    return F.interpolate(mask, sides, mode="trilinear" if len(sides) == 3 else "bilinear")
