"""A universal flicker on its way through the clips."""

from __future__ import annotations

import logging
from hashlib import blake2b
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from attacks.common.adam import Adam
from attacks.common.forward import prepared
from attacks.common.goal import Goal, logits_of, value_and_gradient
from attacks.common.inputs import check_clips
from attacks.common.randomness import generator_for
from attacks.universal.fitting import Record, Samples
from attacks.universal.transfer import answers, could_be_fooled
from attacks.video.flicker_pattern import added, rolled, roughness, thickness

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from attacks.video.flicker_universal import FlickerUniversal


class FlickerFit:
    """A pattern (1, C, T, 1, 1) on its way, with Adam's means and the number of steps taken."""

    def __init__(
        self, options: FlickerUniversal, model: nn.Module, samples: Samples, *, seed: int
    ) -> None:
        """Begin without a pattern."""
        self.options, self.samples, self.seed = options, samples, seed
        x = samples.like()
        check_clips(x)
        self.model, _ = prepared(model, x)
        with torch.no_grad():
            logits = logits_of(self.model, x[:1])
        for named in (options.target, options.source):
            Goal(torch.tensor([named or 0])).check_classes(logits)
        self.pattern = x.new_zeros(1, *x.shape[1:3], 1, 1)  # (1, C, T, 1, 1)
        self.adam = Adam.like(self.pattern)
        self.steps = torch.zeros((), dtype=torch.int64)
        self.wrong = 0  # clips of this pass that the model has wrong
        self._answers: dict[bytes, int] = {}  # to clean clips, by their content

    def play(self, number: int) -> Record:
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

    def enough(self, record: Record) -> bool:
        """Never stop early: what the clips are fooled by becomes less visible to the end."""
        return False

    def tensors(self) -> dict[str, Tensor]:
        """Return the state."""
        return {"pattern": self.pattern, "steps": self.steps, **self.adam.tensors()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
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
            self._answers |= dict(zip(keys, answers(self.model, x).tolist(), strict=True))
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
        x_adv, follow = added(x, rolled(self.pattern, shifts))
        logits, miss, gradient = value_and_gradient(
            self.model, x_adv, lambda logits: self.options.miss(logits, goal)
        )
        gradient = gradient.mul_(follow).sum((3, 4), keepdim=True)  # (A, C, T, 1, 1)
        mean = rolled(gradient.nan_to_num(0, 0, 0), -shifts).mean(0, keepdim=True)
        _, slope = self.options.visible(self.pattern)
        self.steps = self.steps + 1
        move = self.adam.step(mean + slope, number=int(self.steps), lr=lr)
        self.pattern = (self.pattern - move).clamp(-self.options.eps, self.options.eps)
        could = could_be_fooled(before, named)
        counts = [(could & goal.met(logits)).sum(), could.sum()]
        sums = [miss.nan_to_num(0).sum(), *(count.to(miss) for count in counts)]
        return torch.stack([*sums, miss.new_tensor(len(x))])
