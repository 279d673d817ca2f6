"""Auto-PGD: projected gradient ascent that sets its own step sizes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attacks.attack import AttackResult, Norm
from attacks.common.active_set import ActiveSet, is_check_step
from attacks.common.batch_attack import BatchAttack, Call
from attacks.common.best_by_loss import BestByLoss
from attacks.common.goal import (
    Classifier,
    Goal,
    LossName,
    likeliest_wrong,
    logits_of,
    value_and_gradient,
    warnings_of,
    without_slope,
)
from attacks.common.options import Count, Natural
from attacks.common.randomness import normal
from attacks.common.threat import Threat
from attacks.gradient.step_size_schedule import APGDIterate, StepSizeSchedule, schedule_for

# In l1 a climb begins in wider balls: factors of eps, and the share of the steps in each.
WIDER = ((3.0, 0.3), (2.0, 0.3))


@dataclass(frozen=True)
class APGD(BatchAttack):
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
    steps: Count = 100
    restarts: Count = 1
    loss: LossName = "ce"
    targets: Natural = 0
    early_stop: bool = False

    def perturb(self, call: Call) -> AttackResult:
        """Climb to each goal from each start, and return the best iterates."""
        history: list[Tensor] = []
        x, forward = call.x, call.forward
        threat = Threat.around(x, norm=self.norm, eps=self.eps)
        goals = self._goals(forward, x, call.y, call.target)

        def record(value: Tensor) -> None:
            history.append(goals[0].as_loss(value))
            call.progress(len(history), len(goals) * self.restarts * self.steps)

        run = APGDRun(forward, x, early_stop=self.early_stop, record=record)
        for goal in goals * self.restarts:
            self._climb(run, goal, threat, call.generators)
        return run.result(
            x, call.clean_logits(), goals[0], torch.stack(history), random=call.random
        )

    def _goals(self, model: Classifier, x: Tensor, y: Tensor, target: Tensor | None) -> list[Goal]:
        """Return the goals of the climbs, one after the other."""
        goal = Goal(y, target, self.loss)
        if target is not None or not self.targets:
            return [goal]
        with torch.no_grad():
            logits = logits_of(model, x)
        goal.check_classes(logits)
        classes = likeliest_wrong(logits, y, self.targets)  # (B, n)
        return [replace(goal, target=c, any_class=True) for c in classes.unbind(1)]

    def _climb(
        self, run: "APGDRun", goal: Goal, threat: Threat, generators: Sequence[torch.Generator]
    ) -> None:
        """Climb once, in l1 through ever smaller balls, from a random start."""
        if self.norm != "l1":
            run.climb(threat.random_start(generators), goal=goal, threat=threat, steps=self.steps)
            return
        left = self.steps
        # Noise as large as the range, projected to the ball, changes few entries and these much.
        x_adv = threat.x + normal(threat.x, generators)
        for factor, share in WIDER:
            wide, steps = replace(threat, eps=factor * threat.eps), int(share * self.steps)
            x_adv = run.climb(
                wide.project(x_adv), goal=goal, threat=wide, steps=steps, counts=False
            )
            left -= steps
        run.climb(threat.project(x_adv), goal=goal, threat=threat, steps=left)


@dataclass
class APGDFindings:
    """The results of all climbs together, a row for each sample.

    Attributes:
        best: the best point within the ball.
        queries: forward passes spent, int64 (B,).
        stuck: whether a gradient had no slope before the sample was fooled, bool (B,).
        left: whether the sample is done, bool (B,).
    """

    best: BestByLoss
    queries: Tensor
    stuck: Tensor
    left: Tensor

    @classmethod
    def start(cls, x: Tensor) -> "APGDFindings":
        """Begin with the clean samples and nothing known."""
        best = BestByLoss.start(x)
        no = best.success
        return cls(best, torch.zeros_like(no, dtype=torch.int64), no, no)

    def note(self, climb: APGDIterate, goal: Goal, logits: Tensor, *, early_stop: bool) -> None:
        """Keep the present points of a climb that are better than those before."""
        best = self.best
        best.update(climb.x_adv, goal, logits=logits, value=climb.value, keep_first=early_stop)
        searching = best.finite & ~best.success
        self.stuck = self.stuck | (searching & without_slope(climb.gradient))
        if early_stop:
            self.left = best.success


@dataclass
class APGDState:
    """The state of the samples in one climb, a row for each."""

    goal: Goal
    threat: Threat
    schedule: StepSizeSchedule
    climb: APGDIterate
    found: APGDFindings


class APGDRun:
    """One call of the attack: climbs from one start or several, to one goal or several.

    Attributes:
        found: what was found so far.
        logits: of the points looked at first, (B, K); empty before.
    """

    def __init__(
        self, model: Classifier, x: Tensor, *, early_stop: bool, record: Callable[[Tensor], None]
    ) -> None:
        """Prepare to climb from x.

        Args:
            model: the classifier, frozen and wrapped.
            x: the clean samples, (B, ...).
            early_stop: whether a sample leaves with its first success.
            record: called before each step with the values (B,), NaN where a sample has left.
        """
        self.model, self.early_stop, self.record = model, early_stop, record
        self.found = APGDFindings.start(x)
        self.logits = x.new_empty(0)

    def climb(
        self, start: Tensor, *, goal: Goal, threat: Threat, steps: int, counts: bool = True
    ) -> Tensor:
        """Climb once; return the peaks, (B, ...).

        Args:
            start: where to begin, (B, ...), in the ball of `threat`.
            goal: where to.
            threat: where to stay.
            steps: how many.
            counts: whether what is found may be the result.
        """
        schedule = schedule_for(threat, start)
        active = ActiveSet(
            APGDState(goal, threat, schedule, APGDIterate.start(start), self.found),
            torch.arange(len(start), device=start.device),
        )
        checkpoints = schedule.checkpoints(steps)
        for step in range(steps + 1):
            if self.early_stop and is_check_step(step):
                active.drop(active.now.found.left)
            if len(active.rows):
                self._step(active.now, first=step == 0, last=step == steps, counts=counts)
            if step < steps:
                now = active.now
                value = now.climb.value.masked_fill(now.found.left, torch.nan)
                self.record(active.spread(value, absent=torch.nan))
            if step in checkpoints:
                active.now.climb.checkpoint(
                    active.now.threat, active.now.schedule, checkpoints[step]
                )
        state = active.everything()
        self.found = state.found
        return state.climb.peak

    def _step(self, state: APGDState, *, first: bool, last: bool, counts: bool) -> None:
        """Take a step, except at first, and evaluate its end; without a gradient at last."""
        goal, climb, found = state.goal, state.climb, state.found
        if not first:
            climb.x_adv = state.schedule.move(state.threat, climb.x_adv, climb.gradient)
        if last:
            with torch.no_grad():
                logits = logits_of(self.model, climb.x_adv)
            value, gradient = goal.objective(logits), climb.gradient
        else:
            logits, value, gradient = value_and_gradient(self.model, climb.x_adv, goal.objective)
        climb.arrive(value.masked_fill(~torch.isfinite(logits).all(1), torch.nan), gradient)
        found.queries = found.queries + ~found.left
        if counts:
            found.note(climb, goal, logits, early_stop=self.early_stop)
        if not len(self.logits):
            self.logits = logits

    def result(
        self, x: Tensor, clean: Tensor, goal: Goal, history: Tensor, *, random: bool
    ) -> AttackResult:
        """Return the best points of all climbs.

        Args:
            x: the clean samples, (B, ...).
            clean: their logits, (B, K).
            goal: the first of the goals.
            history: the losses before each step, (climbs * steps, B).
            random: what `is_random` said of the model.
        """
        found, best = self.found, self.found.best
        already = goal.is_adversarial(clean)
        return AttackResult(
            x=x,
            x_adv=best.x_adv,
            success=best.success,
            already=already,
            queries=found.queries + goal.any_class,  # choosing the classes took a pass
            loss=goal.as_loss(best.value),
            history=history,
            info=warnings_of(
                goal, self.logits, finite=best.finite, stuck=found.stuck, random=random
            ),
        )
