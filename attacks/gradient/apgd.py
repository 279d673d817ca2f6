"""Auto-PGD: projected gradient ascent that sets its own step sizes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from attacks.attack import AttackResult, Norm, Progress
from attacks.common.begin import begin
from attacks.common.goal import Classifier, Goal, LossName, check_loss, likeliest_wrong, logits_of
from attacks.common.options import check_kinds
from attacks.common.randomness import normal
from attacks.common.threat import Threat, check_norm, check_radius
from attacks.gradient.apgd_ascent import Ascent

# In l1 a climb begins in wider balls: factors of eps, and the share of the steps in each.
WIDER = ((3.0, 0.3), (2.0, 0.3))


@dataclass(frozen=True)
class APGD:
    """Gradient ascent in the eps ball whose steps shrink where they stop leading upwards.

    Args:
        norm: "linf", "l2" or "l1".
        eps: radius in pixel units, a number or one a sample (B,).
        steps: gradient steps of each climb.
        restarts: climbs from starts of their own; the worst case of each sample is kept.
        loss: "ce", "margin" or "dlr".
        targets: 0 climbs away from the label. A number climbs to each of that many classes, the
            likeliest wrong ones, one after the other; any wrong answer is a success. Where a
            target is given, there is only the one climb to it.
        early_stop: for evaluation: a sample's first success is its result, and it leaves the
            batch. Else all steps are taken, and the success with the highest loss is kept.

    Source: Croce & Hein 2020 (AutoAttack), algorithm 1; l1: Croce & Hein 2021 (Mind the Box).
    """

    norm: Norm = "linf"
    eps: float | Tensor = 8 / 255
    steps: int = 100
    restarts: int = 1
    loss: LossName = "ce"
    targets: int = 0
    early_stop: bool = False

    def __post_init__(self) -> None:
        """Refuse impossible options at once."""
        check_kinds(self)
        check_norm(self.norm)
        check_radius(self.norm, self.eps)
        check_loss(self.loss)
        if self.steps < 1 or self.restarts < 1:
            raise ValueError(f"steps={self.steps}, restarts={self.restarts}; both must be >= 1")
        if self.targets < 0:
            raise ValueError(f"targets is {self.targets}; give 0, or how many classes to climb to")

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor | None,
        *,
        target: Tensor | int | None = None,
        seed: int = 0,
        sample_ids: Sequence[int] | Tensor | None = None,
        progress: Progress | None = None,
    ) -> AttackResult:
        """Perturb x within the ball; see `Attack.__call__`."""
        history: list[Tensor] = []
        with begin(
            model, x, y, target=target, seed=seed, sample_ids=sample_ids, progress=progress
        ) as call:
            x, forward = call.x, call.forward
            threat = Threat.around(x, norm=self.norm, eps=self.eps)
            goals = self._goals(forward, x, call.y, call.target)

            def record(value: Tensor) -> None:
                history.append(goals[0].as_loss(value))
                call.progress(len(history), len(goals) * self.restarts * self.steps)

            ascent = Ascent(forward, x, early_stop=self.early_stop, record=record)
            for goal in goals * self.restarts:
                self._climb(ascent, goal, threat, call.generators)
            return ascent.result(x, goals[0], torch.stack(history), random=call.random)

    def _goals(self, model: Classifier, x: Tensor, y: Tensor, target: Tensor | None) -> list[Goal]:
        """Return what to climb to, one after the other."""
        goal = Goal(y, target, self.loss)
        if target is not None or not self.targets:
            return [goal]
        with torch.no_grad():
            logits = logits_of(model, x)
        goal.check_classes(logits)
        classes = likeliest_wrong(logits, y, self.targets)  # (B, n)
        return [replace(goal, target=c, any_class=True) for c in classes.unbind(1)]

    def _climb(
        self, ascent: Ascent, goal: Goal, threat: Threat, generators: Sequence[torch.Generator]
    ) -> None:
        """Climb once, in l1 through ever smaller balls, from a random start."""
        if self.norm != "l1":
            ascent.run(threat.random_start(generators), goal=goal, threat=threat, steps=self.steps)
            return
        left = self.steps
        # Noise as large as the range, projected to the ball, changes few entries and these much.
        x_adv = threat.x + normal(threat.x, generators)
        for factor, share in WIDER:
            wide, steps = replace(threat, eps=factor * threat.eps), int(share * self.steps)
            x_adv = ascent.run(
                wide.project(x_adv), goal=goal, threat=wide, steps=steps, counts=False
            )
            left -= steps
        ascent.run(threat.project(x_adv), goal=goal, threat=threat, steps=left)
