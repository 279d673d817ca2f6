"""Universal flickering: one pattern for all clips, fitted to some of them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from hashlib import blake2b
from typing import ClassVar

import torch
from torch import Tensor, nn

from attacks.common.batch_attack import check_clips
from attacks.common.forward import wrap_forward
from attacks.common.goal import Goal, detached_logits
from attacks.common.options import Count, Natural, NonNegative
from attacks.common.randomness import generator_for
from attacks.universal.fitting import FitByEpochs
from attacks.universal.perturbation import Perturbation
from attacks.universal.sample_loader import SampleLoader
from attacks.universal.saved_attack import Record
from attacks.universal.transfer import could_be_fooled, goal_from_predictions, predict_labels
from attacks.video.adam_fit import AdamFit
from attacks.video.flicker_loss import FlickerLoss, roughness, shift_pattern, thickness

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FlickerUniversal(FlickerLoss, FitByEpochs[Perturbation]):
    """Fit one flickering pattern to all clips, or to all clips of a class, by Adam.

    The loss is that of `FlickerLoss`, its margin loss averaged over the clips of a batch. The
    model's clean predictions serve as labels. `roll` alone uses random numbers.

    `fit` returns the `Perturbation` of the last epoch, of shape (C, T, 1, 1);
    `fooling_over_shifts` evaluates it at other shifts in time. Each record of its `history` holds
    the mean "loss" and the "fooling_rate" of the attackable clips, each batch evaluated before
    its step; the pattern's "thickness" and "roughness" in % of full scale; "attackable", the
    number of clips behind the rate; and "left_out", the number of misclassified clips, which the
    fit skips as in the paper. `fit` raises ValueError for images, for clips of several lengths,
    and when no clip is left.

    Args:
        eps: largest size of the pattern's values, in pixel units.
        passes: number of epochs.
        roll: shift the pattern by a random number of frames for each clip and step, so that it
            need not be synchronised with the video.
        source: fit to the clips that the model predicts as this class alone; None for all clips.
            A loader of that class fills the batches.
        target: class to reach; None for any class but the clean prediction.

    Source: Naeh et al. 2020, eq. (1), sections 3 and 4.3 to 4.5: class generalisation, universal
    and time-invariant attacks; there 10000 steps of 8 clips.
    """

    eps: NonNegative = 0.2
    passes: Count = 20
    roll: bool = False
    source: Natural | None = None
    target: Natural | None = None

    own_eps: ClassVar[bool] = True  # no budget: the jobs do not replace it
    needs_videos: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Raise ValueError for impossible options."""
        super().__post_init__()
        if self.source is not None and self.source == self.target:
            raise ValueError(f"source and target are both {self.source}; give two classes")

    def start_fit(
        self, model: nn.Module, samples: SampleLoader, *, seed: int
    ) -> FlickerUniversalFit:
        """Return the fit with a pattern of zeros."""
        return FlickerUniversalFit(self, model, samples, seed=seed)


class FlickerUniversalFit(AdamFit):
    """A pattern (1, C, T, 1, 1) in progress."""

    def __init__(
        self, options: FlickerUniversal, model: nn.Module, samples: SampleLoader, *, seed: int
    ) -> None:
        """Begin with a pattern of zeros."""
        self.options, self.samples, self.seed = options, samples, seed
        x = samples.like()
        check_clips(x)
        self.model, *_ = wrap_forward(model, x)
        logits = detached_logits(self.model, x[:1])
        for named in (options.target, options.source):
            Goal(torch.tensor([named or 0])).check_classes(logits)
        pattern = x.new_zeros(1, *x.shape[1:3], 1, 1)  # (1, C, T, 1, 1)
        super().__init__(pattern, name="pattern", eps=options.eps, target=options.target)
        self._predictions: dict[bytes, int] = {}  # of clean clips, by a hash of their content

    def run_epoch(self, epoch: int) -> Record:
        """Take one step for each batch, at the epoch's learning rate."""
        generator = generator_for(self.seed, "shifts", epoch)
        lr = self.options.rate(epoch / self.options.passes)
        self.left_out = 0
        batches = (self._select(x, y) for x, y in self.samples.labelled())
        sums = [self._step(*batch, generator, lr) for batch in batches]
        # Synchronises with the device once.
        loss, fooled, attackable, count = torch.stack(sums).sum(0).tolist()
        if not count:
            raise ValueError(
                f"no clip is left to fit to with source={self.options.source}: the model gives "
                f"none of them that class, or NaN, or has them wrong ({self.left_out}); give clips "
                "that it has right"
            )
        if not epoch and self.left_out:
            log.info("%d clips are wrong when clean and are left out of the fit", self.left_out)
        return {
            "loss": loss / count,
            "fooling_rate": fooled / max(attackable, 1),
            "thickness": float(thickness(self.delta)),
            "roughness": float(roughness(self.delta)),
            "attackable": int(attackable),
            "left_out": self.left_out,
        }

    def _select(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the clips of x (B, ...) to fit to, and the model's predictions of them, (A,).

        Raises:
            ValueError: for images, and for clips of another length than the pattern.
        """
        check_clips(x)
        if x.shape[1:3] != self.delta.shape[1:3]:
            raise ValueError(
                f"x has shape {tuple(x.shape)} after batches of {tuple(self.delta.shape[1:3])} "
                "channels and frames; give clips of one length"
            )
        before = self._predict_once(x)
        source, correct = self.options.source, self.is_correct(y.cpu(), before)
        wanted = before >= 0 if source is None else before == source
        self.left_out += int((wanted & ~correct).sum())
        rows = (wanted & correct).nonzero().flatten()
        return x[rows.to(x.device)], before[rows].to(x.device)

    def _predict_once(self, x: Tensor) -> Tensor:
        """Return the model's predictions of clean clips (B, ...), on the CPU, (B,)."""
        keys = [blake2b(row.cpu().numpy().tobytes(), digest_size=16).digest() for row in x]
        if any(key not in self._predictions for key in keys):
            predicted = predict_labels(self.model, x).tolist()
            self._predictions |= dict(zip(keys, predicted, strict=True))
        return torch.tensor([self._predictions[key] for key in keys])

    def _step(self, x: Tensor, before: Tensor, generator: torch.Generator, lr: float) -> Tensor:
        """Take a step for clips (A, ...), predicted as `before` (A,) when clean.

        Returns:
            (4,): the summed loss, fooled clips, attackable clips, and A.
        """
        frames = self.delta.shape[2]
        shifts = torch.randint(frames if self.options.roll else 1, (len(x),), generator=generator)
        if not len(x):
            return self.delta.new_zeros(4)
        shifts, goal = shifts.to(x.device), goal_from_predictions(before, self.target)
        logits, loss, gradient = self.options.margin_and_gradient(
            self.model, x, shift_pattern(self.delta, shifts), goal
        )
        mean = shift_pattern(gradient.nan_to_num(0, 0, 0), -shifts).mean(0, keepdim=True)
        _, slope = self.options.visibility_and_gradient(self.delta)
        self.descend(mean + slope, lr=lr)
        attackable = could_be_fooled(before, self.target)
        counts = [(attackable & goal.is_adversarial(logits)).sum(), attackable.sum()]
        sums = [loss.nan_to_num(0).sum(), *(count.to(loss) for count in counts)]
        return torch.stack([*sums, loss.new_tensor(len(x))])
