"""Universal flickering: one pattern for all clips, fitted to some of them."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from hashlib import blake2b
from typing import ClassVar

import torch
from torch import Tensor, nn

from attacks.attack import Progress
from attacks.common.forward import wrap_forward
from attacks.common.frozen import frozen
from attacks.common.goal import Goal, logits_of, value_and_gradient
from attacks.common.inputs import check_clips
from attacks.common.optimizers import Adam
from attacks.common.randomness import generator_for
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
from attacks.video.flicker_loss import FlickerLoss
from attacks.video.flicker_pattern import add_pattern, roughness, shift_pattern, thickness


@dataclass(frozen=True)
class FlickerUniversal(FlickerLoss):
    """Options of a fit that gives one flicker for all clips, or for all of a class.

    Adam lowers the objective of `FlickerLoss`, its loss averaged over the clips of a batch. What
    the model answers the clean clips stands for their labels; clips whose label is given and is
    another are left out, as in the paper. The result is a `Perturbation` of
    shape (C, T, 1, 1); see `fooling_over_shifts` for how it does at other shifts in time.

    Args:
        eps: largest size of the pattern's values, in pixel units.
        passes: times through the clips.
        roll: shift the pattern by a random number of frames for each clip and step, so that it
            need not be synchronised with the video it is added to.
        source: fit to the clips alone that the model gives this class; None for all clips. A
            loader of that class alone fills the batches.
        target: the class to reach; None for any class but the model's own answer.
        **others: see `FlickerLoss`.

    Source: Naeh et al. 2020, eq. (1), sections 3 and 4.3 to 4.5: class generalisation, universal
    and time-invariant attacks; there 10000 steps of 8 clips.
    """

    eps: float = 0.2
    passes: int = 20
    roll: bool = False
    source: int | None = None
    target: int | None = None

    own_eps: ClassVar[bool] = True  # it is no budget: the jobs leave it as it is
    needs_videos: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse impossible options at once."""
        super().__post_init__()
        check_radius("linf", self.eps)
        check_target(self.target)
        if not 0 <= self.eps < math.inf:
            raise ValueError(f"eps is {self.eps}; give a finite number >= 0")
        if self.passes < 1:
            raise ValueError(f"passes is {self.passes}; give a number >= 1")
        if self.source is not None and (self.source < 0 or self.source == self.target):
            raise ValueError(
                f"source is {self.source}, target {self.target}; class ids start at 0, and the two "
                "differ"
            )

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
        """Fit a flicker; see `Fittable.fit`. Random are the shifts of `roll`.

        Returns:
            The perturbation. Its `history` holds for each pass the mean "loss" and the
            "fooling_rate" of the clips, each looked at in its turn while the pattern moves, and
            after it the pattern's "thickness" and "roughness" in % of full scale, and "left_out",
            how many clips the model has wrong when clean.

        Raises:
            ValueError: for images, clips of several lengths, and when no clip is left to fit to.
        """
        with frozen(model):
            fit = FlickerUniversalFit(self, model, SampleLoader.of(loader, model), seed=seed)
            history = run_epochs(
                fit, passes=self.passes, progress=progress, checkpoint=checkpoint, on_epoch=on_epoch
            )
        return Perturbation(
            fit.pattern[0], "linf", self.eps, target=self.target, history=tuple(history)
        )


log = logging.getLogger(__name__)


class FlickerUniversalFit:
    """A pattern (1, C, T, 1, 1) on its way, with Adam's means and the number of steps taken."""

    def __init__(
        self, options: FlickerUniversal, model: nn.Module, samples: SampleLoader, *, seed: int
    ) -> None:
        """Begin without a pattern."""
        self.options, self.samples, self.seed = options, samples, seed
        x = samples.like()
        check_clips(x)
        self.model, _ = wrap_forward(model, x)
        with torch.no_grad():
            logits = logits_of(self.model, x[:1])
        for named in (options.target, options.source):
            Goal(torch.tensor([named or 0])).check_classes(logits)
        self.pattern = x.new_zeros(1, *x.shape[1:3], 1, 1)  # (1, C, T, 1, 1)
        self.adam = Adam.like(self.pattern)
        self.steps = torch.zeros((), dtype=torch.int64)
        self.wrong = 0  # clips of this pass that the model has wrong
        self._answers: dict[bytes, int] = {}  # to clean clips, by their content

    def run_epoch(self, number: int) -> Record:
        """Go through the clips once."""
        generator = generator_for(self.seed, "shifts", number)
        lr = self.options.rate(number / self.options.passes)
        self.wrong = 0
        batches = (self._chosen(x, y) for x, y in self.samples.labelled())
        sums = [self._learn(*chosen, generator, lr) for chosen in batches]
        # Waits for the device once.
        loss, fooled, could, count = torch.stack(sums).sum(0).tolist()
        if not count:
            raise ValueError(
                f"no clip is left to fit to with source={self.options.source}: the model gives "
                f"none of them that class, or NaN, or has them wrong ({self.wrong}); give clips "
                "that it has right"
            )
        if not number and self.wrong:
            log.info("%d clips are wrong when clean and are left out of the fit", self.wrong)
        visible = {"thickness": thickness, "roughness": roughness}
        after = {name: float(measure(self.pattern)) for name, measure in visible.items()}
        shares = {"loss": loss / count, "fooling_rate": fooled / max(could, 1)}
        counts = {"attackable": int(could), "left_out": self.wrong}
        return {**shares, **after, **counts}

    def should_stop(self, record: Record) -> bool:
        """Never stop early: what the clips are fooled by becomes less visible to the end."""
        return False

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state."""
        return {"pattern": self.pattern, "steps": self.steps, **self.adam.tensors()}

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Take over a state."""
        self.steps = tensors["steps"]
        self.pattern = tensors["pattern"].to(self.pattern)
        self.adam.restore(tensors)

    def _chosen(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the clips of x (B, ...) to fit to, and the model's answers to them, (A,).

        Clips whose label y (B,) is known and is another one than the answer are left out.

        Raises:
            ValueError: when they are no clips of the pattern's length.
        """
        check_clips(x)
        if x.shape[1:3] != self.pattern.shape[1:3]:
            raise ValueError(
                f"x has shape {tuple(x.shape)} after batches of {tuple(self.pattern.shape[1:3])} "
                "channels and frames; give clips of one length"
            )
        keys = [blake2b(row.cpu().numpy().tobytes(), digest_size=16).digest() for row in x]
        if any(key not in self._answers for key in keys):
            self._answers |= dict(zip(keys, predict_labels(self.model, x).tolist(), strict=True))
        before = torch.tensor([self._answers[key] for key in keys])
        source = self.options.source
        wanted = before >= 0 if source is None else before == source
        wrong = (y.cpu() >= 0) & (y.cpu() != before)
        self.wrong += int((wanted & wrong).sum())
        rows = (wanted & ~wrong).nonzero().flatten()
        return x[rows.to(x.device)], before[rows].to(x.device)

    def _learn(self, x: Tensor, before: Tensor, generator: torch.Generator, lr: float) -> Tensor:
        """Take a step with clips (A, ...).

        Returns:
            Their summed loss, how many it fools, of how many that it could, and A.
        """
        frames = self.pattern.shape[2]
        shifts = torch.randint(frames if self.options.roll else 1, (len(x),), generator=generator)
        if not len(x):
            return self.pattern.new_zeros(4)
        shifts, named = shifts.to(x.device), self.options.target
        goal = Goal(before, None if named is None else torch.full_like(before, named))
        x_adv, pass_mask = add_pattern(x, shift_pattern(self.pattern, shifts))
        logits, miss, gradient = value_and_gradient(
            self.model, x_adv, lambda logits: self.options.miss(logits, goal)
        )
        gradient = gradient.mul_(pass_mask).sum((3, 4), keepdim=True)  # (A, C, T, 1, 1)
        mean = shift_pattern(gradient.nan_to_num(0, 0, 0), -shifts).mean(0, keepdim=True)
        _, slope = self.options.visible(self.pattern)
        self.steps = self.steps + 1
        move = self.adam.step(mean + slope, number=int(self.steps), lr=lr)
        self.pattern = (self.pattern - move).clamp(-self.options.eps, self.options.eps)
        could = could_be_fooled(before, named)
        counts = [(could & goal.is_adversarial(logits)).sum(), could.sum()]
        sums = [miss.nan_to_num(0).sum(), *(count.to(miss) for count in counts)]
        return torch.stack([*sums, miss.new_tensor(len(x))])
