"""The sparse universal perturbation: one change of a few frames for all clips."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from attacks.common.batch_attack import check_clips
from attacks.common.goal import value_and_gradient
from attacks.common.options import Count, Natural, NonNegative, Positive
from attacks.universal.fitting import FitByEpochs
from attacks.universal.perturbation import Perturbation
from attacks.universal.sample_loader import SampleLoader
from attacks.universal.saved_attack import Record
from attacks.universal.transfer import could_be_fooled, goal_from_predictions, predict_labels
from attacks.video.adam_fit import AdamFit
from attacks.video.keyframes import check_count, fixed_frames, parse_frames
from attacks.video.sparsity import frame_directions, frame_sizes, log_error_probability

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SparseUniversalPerturbation(FitByEpochs[Perturbation]):
    """Fit one perturbation with a small L2,1 norm to all clips, by Adam.

    The loss of a batch is the mean of log(1 - p), p the probability of the clean prediction, or
    with a target the cross entropy; plus `lam` times the normalised L2,1 norm: the root mean
    square of a frame's change, in pixel units, averaged over the frames that may change. Neither
    term depends on the clips' size and length, so a weight means the same for all of them. An
    image is a clip of one frame. Nothing is random: the loader gives the order.

    `fit` returns the `Perturbation` of the last epoch. Each record of its `history` holds
    "fooling_rate", the share of attackable samples fooled, each batch evaluated before its step;
    "attackable", their number; "l21", the normalised norm; and "left_out", the number of
    misclassified samples, which the fit skips.

    Args:
        lam: weight of the norm. The authors' code sums over ten frames with a weight of 1, which
            is 10 here. (Naeh et al., who compare with it, bound the loss and weigh by about 1.)
        frames: that may change: "all", "first", "uniform", or numbers from 0 joined by +.
        count: number of frames of "first" and "uniform"; None takes a quarter.
        eps: largest change of any value, in pixel units; 1 is no limit.
        lr: Adam's learning rate, in pixel units.
        passes: number of epochs.
        target: class to reach; None for any class but the clean prediction.

    Source: Wei et al. 2019, eq. (2) and (4) (sparse perturbations, shared by several videos), and
    their code; compared with in Naeh et al. 2020, figure 3.
    """

    lam: NonNegative = 10.0
    frames: str = "all"
    count: Count | None = None
    eps: NonNegative = 1.0
    lr: Positive = 1e-3
    passes: Count = 50
    target: Natural | None = None

    own_eps: ClassVar[bool] = True  # no budget: the jobs do not replace it

    def __post_init__(self) -> None:
        """Raise ValueError for impossible options."""
        super().__post_init__()
        if self.frames not in ("all", "first", "uniform"):
            parse_frames(self.frames)
        if self.count is not None and self.frames not in ("first", "uniform"):
            raise ValueError(f"count is {self.count}; give it with frames=first or uniform")

    def start_fit(
        self, model: nn.Module, samples: SampleLoader, *, seed: int
    ) -> SparseUniversalFit:
        """Return the fit with a perturbation of zeros; the seed is not used."""
        return SparseUniversalFit(self, model, samples)


class SparseUniversalFit(AdamFit):
    """A perturbation (1, C, T, H, W) in progress, zero in the frames that may not change."""

    def __init__(
        self, options: SparseUniversalPerturbation, model: nn.Module, samples: SampleLoader
    ) -> None:
        """Begin with a perturbation of zeros."""
        self.options, self.model, self.samples = options, model, samples
        like = samples.like()[:1]
        super().__init__(like, name="delta", eps=options.eps, target=options.target)
        self.mask = self._mask(like)
        frames = frames_of(self.mask.expand_as(like))[0]  # (T, C, H, W)
        # From the sum of the frames' lengths to their mean root mean square.
        self.scale = 1 / (math.sqrt(frames[0].numel()) * int(frames.flatten(1).any(1).sum()))

    def run_epoch(self, epoch: int) -> Record:
        """Take one step for each batch."""
        self.left_out = 0
        steps = [self._step(*self._select(x, y)) for x, y in self.samples.labelled()]
        fooled, taken = torch.cat([fooled for fooled, _ in steps]), sum(n for _, n in steps)
        if not taken:
            raise ValueError(
                f"no sample is left to fit to: the model has all {self.left_out} wrong when clean; "
                "give samples that it has right"
            )
        if not epoch and self.left_out:
            log.info("%d samples are wrong when clean and are left out of the fit", self.left_out)
        return {
            "fooling_rate": int(fooled.sum()) / max(len(fooled), 1),
            "attackable": len(fooled),
            "l21": float(frame_sizes(frames_of(self.delta)).sum() * self.scale),
            "left_out": self.left_out,
        }

    def _select(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the samples of x (B, ...) to fit to, and the model's predictions of them, (A,).

        Raises:
            ValueError: when the samples differ from the perturbation in shape.
        """
        if x.shape[1:] != self.delta.shape[1:]:
            raise ValueError(
                f"x has shape {tuple(x.shape)} after samples of {tuple(self.delta.shape[1:])}; "
                "give clips of one shape"
            )
        before = predict_labels(self.model, x)
        correct = self.is_correct(y, before)
        self.left_out += int((~correct).sum())
        return x[correct], before[correct]

    def _step(self, x: Tensor, before: Tensor) -> tuple[Tensor, int]:
        """Take a step for x (A, ...), predicted as `before` (A,) when clean.

        Returns:
            Which attackable samples were fooled before the step, bool, and A.
        """
        if not len(x):
            return before.bool(), 0
        goal = goal_from_predictions(before, self.target)
        moved = x + self.delta
        logits, _, gradient = value_and_gradient(
            self.model, moved.clamp(0, 1), lambda logits: log_error_probability(logits, goal)
        )
        # A pixel that is clipped at 0 or 1 does not change with the perturbation.
        gradient = gradient.nan_to_num(0, 0, 0) * ((moved >= 0) & (moved <= 1))
        frames = frames_of(self.delta)  # (1, T, C, H, W)
        norm = frame_directions(frames, frame_sizes(frames)).transpose(1, 2)  # (1, C, T, H, W)
        weight = self.options.lam * self.scale
        slope = weight * norm.reshape(self.delta.shape) - gradient.mean(0, keepdim=True)
        self.descend(slope, lr=self.options.lr)
        self.delta = self.delta * self.mask
        return goal.is_adversarial(logits)[could_be_fooled(before, self.target)], len(x)

    def _mask(self, like: Tensor) -> Tensor:
        """Return 1 for frames that may change and 0 for others, broadcastable over `like`."""
        mask = torch.ones_like(like[:1, :1])
        if self.options.frames == "all":
            return mask
        check_clips(like)
        frames = like.shape[2]
        count = check_count(self.options.count, frames, targeted=False)
        chosen = fixed_frames(self.options.frames, frames, count)
        return mask.zero_().index_fill_(2, torch.tensor(chosen, device=mask.device), 1)


def frames_of(x: Tensor) -> Tensor:
    """Return the frames of videos (B, C, T, H, W) or images (B, C, H, W) as (B, T, C, H, W)."""
    return x[:, None] if x.ndim == 4 else x.transpose(1, 2)
