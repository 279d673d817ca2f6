"""The sparse universal perturbation: one change of a few frames for all clips."""

import logging
import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from attacks.attack import Progress
from attacks.common.frozen import frozen
from attacks.common.goal import Goal, value_and_gradient
from attacks.common.inputs import check_clips
from attacks.common.optimizers import Adam
from attacks.common.options import check_kinds
from attacks.common.threat import check_radius
from attacks.universal.fitting import (
    FitCheckpoint,
    Loader,
    OnEpoch,
    Record,
    SampleLoader,
    check_target,
    run_epochs,
)
from attacks.universal.perturbation import Perturbation
from attacks.universal.transfer import could_be_fooled, predict_labels
from attacks.video.keyframes import check_count, fixed_frames, listed
from attacks.video.sparsity import frame_directions, frame_sizes, log_error_probability

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SparseUniversalPerturbation:
    """Options of a fit that gives one perturbation in L2,1 for all clips, a `Perturbation`.

    Adam goes through the clips again and again. The loss of a batch is its mean log(1 - p), p the
    probability of the model's own answer, or with a target its cross entropy; and `lam` times
    the L2,1 norm: the root mean square of a frame's change, in pixel units, averaged over the
    frames that may change. So the norm is at most `eps`, as the loss is whatever the clips' size
    and length, and a weight means the same for all of them. An image is a clip of one frame.

    Args:
        lam: weight of the norm. The authors' code sums over ten frames with a weight of 1, which
            is 10 here. (Naeh et al.'s, which compares with it, has a bounded loss and about 1.)
        frames: "all", "first", "uniform", or numbers from 0 with + between them.
        count: how many frames "first" and "uniform" take; None takes a quarter.
        eps: largest change of any value, in pixel units; 1 is no limit.
        lr: of Adam, in pixel units.
        passes: times through the clips; the last one's perturbation is kept.
        target: the class to reach; None for any class but the model's own answer.

    Source: Wei et al. 2019, eq. (2) and (4) (sparse perturbations, shared by several videos), and
    their code; compared with in Naeh et al. 2020, figure 3.
    """

    lam: float = 10.0
    frames: str = "all"
    count: int | None = None
    eps: float = 1.0
    lr: float = 1e-3
    passes: int = 50
    target: int | None = None

    own_eps: ClassVar[bool] = True  # it is no budget: the jobs leave it as it is

    def __post_init__(self) -> None:
        """Refuse impossible options at once."""
        check_kinds(self)
        check_radius("linf", self.eps)
        check_target(self.target)
        if self.frames not in ("all", "first", "uniform"):
            listed(self.frames)
        if self.count is not None and (self.count < 1 or self.frames not in ("first", "uniform")):
            raise ValueError(f"count is {self.count}; give >= 1, with frames=first or uniform")
        if not 0 <= self.lam < math.inf or not 0 <= self.eps < math.inf:
            raise ValueError(f"lam={self.lam}, eps={self.eps}; give finite numbers >= 0")
        if not 0 < self.lr < math.inf or self.passes < 1:
            raise ValueError(f"lr={self.lr}, passes={self.passes}; lr > 0, passes >= 1")

    def fit(
        self,
        model: nn.Module,
        loader: Loader,
        *,
        seed: int = 0,
        progress: Progress | None = None,
        checkpoint: FitCheckpoint | None = None,
        on_epoch: OnEpoch | None = None,
    ) -> Perturbation:
        """Fit a perturbation; see `Fittable.fit`. Nothing is random: the loader gives the order.

        Returns:
            The perturbation; its `history` holds after each pass the "fooling_rate" of the pass,
            each batch seen before its step, "l21", the norm, and "left_out", how many samples
            the model has wrong when clean, which are not fitted to.
        """
        with frozen(model):
            fit = SparseUniversalFit(self, model, SampleLoader.of(loader, model))
            history = run_epochs(
                fit, passes=self.passes, progress=progress, checkpoint=checkpoint, on_epoch=on_epoch
            )
        return Perturbation(
            fit.delta[0], "linf", self.eps, target=self.target, history=tuple(history)
        )


class SparseUniversalFit:
    """A perturbation on its way, (1, C, T, H, W), with Adam's means and the steps it took."""

    def __init__(
        self, options: SparseUniversalPerturbation, model: nn.Module, samples: SampleLoader
    ) -> None:
        """Begin without a perturbation."""
        self.options, self.model, self.samples = options, model, samples
        like = samples.like()[:1]
        self.delta, self.adam = torch.zeros_like(like), Adam.like(like)
        self.steps = torch.zeros((), dtype=torch.int64)
        self.wrong = 0  # samples of this pass that the model has wrong
        self.mask = self._mask(like)
        frames = frames_of(self.mask.expand_as(like))[0]  # (T, C, H, W)
        # What the length of a frame counts for: its root mean square, over the frames that change.
        self.share = 1 / (math.sqrt(frames[0].numel()) * int(frames.flatten(1).any(1).sum()))

    def run_epoch(self, number: int) -> Record:
        """Go through the clips once."""
        self.wrong = 0
        # Of those that could be fooled: not the target already.
        steps = [self._step(*self._right(x, y)) for x, y in self.samples.labelled()]
        fooled, taken = torch.cat([fooled for fooled, _ in steps]), sum(n for _, n in steps)
        if not taken:
            raise ValueError(
                f"no sample is left to fit to: the model has all {self.wrong} wrong when clean; "
                "give samples that it has right"
            )
        if not number and self.wrong:
            log.info("%d samples are wrong when clean and are left out of the fit", self.wrong)
        sizes = frame_sizes(frames_of(self.delta))
        return {
            "fooling_rate": int(fooled.sum()) / max(len(fooled), 1),
            "attackable": len(fooled),
            "l21": float(sizes.sum() * self.share),
            "left_out": self.wrong,
        }

    def should_stop(self, record: Record) -> bool:
        """All passes are played."""
        return False

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state."""
        return {"delta": self.delta, "steps": self.steps, **self.adam.tensors()}

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Take over a state."""
        self.delta, self.steps = tensors["delta"].to(self.delta, copy=True), tensors["steps"].cpu()
        self.adam.restore(tensors)

    def _right(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the samples of x (B, ...) that are not known to be wrong, and the answers, (A,).

        Raises:
            ValueError: when they are not of the perturbation's shape.
        """
        if x.shape[1:] != self.delta.shape[1:]:
            raise ValueError(
                f"x has shape {tuple(x.shape)} after samples of {tuple(self.delta.shape[1:])}; "
                "give clips of one shape"
            )
        before = predict_labels(self.model, x)
        wrong = (y >= 0) & (y != before)
        self.wrong += int(wrong.sum())
        return x[~wrong], before[~wrong]

    def _step(self, x: Tensor, before: Tensor) -> tuple[Tensor, int]:
        """Take a step for x (A, ...).

        Returns:
            Which were fooled before it, bool, of those that could be; and A.
        """
        if not len(x):
            return before.bool(), 0
        wanted = self.options.target
        target = None if wanted is None else torch.full_like(before, wanted)
        goal = Goal(before.clamp_min(0), target)
        moved = x + self.delta
        logits, _, gradient = value_and_gradient(
            self.model, moved.clamp(0, 1), lambda logits: log_error_probability(goal, logits)
        )
        # What the range of pixels cuts off does not move with the perturbation.
        gradient = gradient.nan_to_num(0, 0, 0) * ((moved >= 0) & (moved <= 1))
        frames = frames_of(self.delta)  # (1, T, C, H, W)
        norm = frame_directions(frames, frame_sizes(frames)).transpose(1, 2)  # (1, C, T, H, W)
        weight = self.options.lam * self.share
        slope = weight * norm.reshape(self.delta.shape) - gradient.mean(0, keepdim=True)
        self.steps = self.steps + 1
        self.delta.sub_(self.adam.step(slope, number=int(self.steps), lr=self.options.lr))
        self.delta.clamp_(-self.options.eps, self.options.eps).mul_(self.mask)
        return goal.is_adversarial(logits)[could_be_fooled(before, wanted)], len(x)

    def _mask(self, like: Tensor) -> Tensor:
        """Return 1 in the frames that may change and 0 in others; it broadcasts over like."""
        if self.options.frames == "all":
            return torch.ones_like(like[:1, :1])
        check_clips(like)
        frames = like.shape[2]
        count = check_count(self.options.count, frames, targeted=False)
        mask = torch.zeros_like(like[:1, :1])
        mask[:, :, fixed_frames(self.options.frames, frames, count)] = 1
        return mask


def frames_of(x: Tensor) -> Tensor:
    """Return the frames of videos, or images (B, C, H, W) as one frame each, (B, T, C, H, W)."""
    return x[:, None] if x.ndim == 4 else x.transpose(1, 2)
