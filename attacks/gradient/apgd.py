"""Auto-PGD: projected gradient ascent that sets its own step sizes."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attacks.attack import AttackResult, Norm
from attacks.common.active_set import ActiveSet, is_check_step
from attacks.common.batch_attack import Call, GradientAttack
from attacks.common.best_by_loss import BestByLoss, SearchState
from attacks.common.goal import Goal, LossName, detached_logits, likeliest_wrong, value_and_gradient
from attacks.common.options import Count, Natural
from attacks.common.randomness import normal
from attacks.common.threat import Threat, column
from attacks.gradient.step_size_schedule import HalvingSchedule, SparseSchedule

# In l1 a climb begins in wider balls: factors of eps, and the share of the steps in each.
WIDER = ((3.0, 0.3), (2.0, 0.3))


@dataclass(frozen=True)
class APGD(GradientAttack):
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
        threat = Threat.around(call.x, norm=self.norm, eps=self.eps)
        goals = self._goals(call) * self.restarts
        run = APGDRun(self, call, goals)
        for goal in goals:
            self._climb(run, goal, threat)
        return run.result()

    def _goals(self, call: Call) -> list[Goal]:
        """Return the goals of the climbs, one after the other."""
        goal = Goal(call.y, call.target, self.loss)
        if call.target is not None or not self.targets:
            return [goal]
        logits = detached_logits(call.forward, call.x)
        goal.check_classes(logits)
        classes = likeliest_wrong(logits, call.y, self.targets)  # (B, n)
        return [replace(goal, target=c, any_class=True) for c in classes.unbind(1)]

    def _climb(self, run: "APGDRun", goal: Goal, threat: Threat) -> None:
        """Climb once, in l1 through ever smaller balls, from a random start."""
        generators, left = run.call.generators, self.steps
        if self.norm != "l1":
            run.climb(threat.random_start(generators), goal=goal, threat=threat, steps=left)
            return
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
class APGDState(SearchState):
    """The state of the samples in one climb, a row for each.

    Attributes:
        threat: where to stay.
        schedule: of the step sizes.
        x_adv: the present point, (B, ...).
        gradient: of the value there, (B, ...).
        value: of the goal there, (B,); NaN before it is known.
        peak: the point of the highest value, (B, ...).
        peak_gradient: its gradient, (B, ...).
        peak_value: its value, (B,).
        checked: the highest value at the last checkpoint, (B,).
        rises: how many steps since the last checkpoint raised the value, (B,).
        **others: see `SearchState`; they are of all climbs together.
    """

    threat: Threat
    schedule: HalvingSchedule | SparseSchedule
    x_adv: Tensor
    gradient: Tensor
    value: Tensor
    peak: Tensor
    peak_gradient: Tensor
    peak_value: Tensor
    checked: Tensor
    rises: Tensor

    @classmethod
    def start(cls, found: SearchState, goal: Goal, threat: Threat, x_adv: Tensor) -> "APGDState":
        """Begin a climb at x_adv, after those that `found` what is known."""
        schedule = (SparseSchedule if threat.norm == "l1" else HalvingSchedule).start(threat, x_adv)
        known = (goal, found.best, found.queries, found.stuck, found.left)
        unknown = x_adv.new_full((len(x_adv),), torch.nan)
        here = peak = (x_adv, torch.zeros_like(x_adv), unknown)
        return cls(*known, threat, schedule, *here, *peak, unknown, torch.zeros_like(unknown))

    def arrive(self, value: Tensor, gradient: Tensor) -> None:
        """Take over value (B,), NaN where unknown, and gradient (B, ...) at x_adv."""
        higher = ~(value <= self.peak_value) & ~value.isnan()
        self.rises = self.rises + (value > self.value)
        self.value, self.gradient = value, gradient
        mask = column(higher, gradient)
        self.peak = torch.where(mask, self.x_adv, self.peak)
        self.peak_gradient = torch.where(mask, gradient, self.peak_gradient)
        self.peak_value = torch.where(higher, value, self.peak_value)

    def checkpoint(self, steps: int) -> None:
        """Adapt step sizes to the last `steps` steps, and return to peaks where they are halved."""
        back = self.schedule.checkpoint(
            self.threat,
            peak=self.peak,
            rising_share=self.rises / steps,
            new_peak=self.peak_value > self.checked,
        )
        mask = column(back, self.x_adv)
        self.x_adv = torch.where(mask, self.peak, self.x_adv)
        self.gradient = torch.where(mask, self.peak_gradient, self.gradient)
        self.checked, self.rises = self.peak_value, torch.zeros_like(self.rises)


class APGDRun:
    """One call of the attack: climbs from one start or several, to one goal or several.

    Attributes:
        found: what was found so far.
        logits: of the points looked at first, (B, K); empty before.
        history: the losses before each step, (B,) each, NaN where a sample has left.
    """

    def __init__(self, options: APGD, call: Call, goals: list[Goal]) -> None:
        """Prepare to climb from x, to one goal after the other."""
        self.options, self.call = options, call
        self.total = len(goals) * options.steps
        best, none = BestByLoss.start(call.x), torch.zeros_like(call.y)
        self.found = SearchState(goals[0], best, none, best.success, best.success)
        self.logits = call.x.new_empty(0)
        self.history: list[Tensor] = []

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
        state = APGDState.start(self.found, goal, threat, start)
        active = ActiveSet(state, torch.arange(len(start), device=start.device))
        checkpoints = state.schedule.checkpoints(steps)
        for step in range(steps + 1):
            if self.options.early_stop and is_check_step(step):
                active.drop(active.now.left)
            state = active.now
            if len(active.rows):
                self._step(state, first=step == 0, last=step == steps, counts=counts)
            if step < steps:
                value = state.value.masked_fill(state.left, torch.nan)
                self.history.append(goal.as_loss(active.spread(value, absent=torch.nan)))
                self.call.progress(len(self.history), self.total)
            if step in checkpoints:
                state.checkpoint(checkpoints[step])
        self.found = end = active.everything()
        return end.peak

    def _step(self, state: APGDState, *, first: bool, last: bool, counts: bool) -> None:
        """Take a step, except at first, and evaluate its end; without a gradient at last."""
        goal, forward, early = state.goal, self.call.forward, self.options.early_stop
        if not first:
            state.x_adv = state.schedule.move(state.threat, state.x_adv, state.gradient)
        if last:
            logits = detached_logits(forward, state.x_adv)
            value, gradient = goal.objective(logits), state.gradient
        else:
            logits, value, gradient = value_and_gradient(forward, state.x_adv, goal.objective)
        state.arrive(value.masked_fill(~torch.isfinite(logits).all(1), torch.nan), gradient)
        if counts:
            best = state.best
            best.update(state.x_adv, goal, logits=logits, value=state.value, keep_first=early)
            state.note_slope(gradient)
        state.count_pass(early_stop=early)
        if not len(self.logits):
            self.logits = logits

    def result(self) -> AttackResult:
        """Return the best points of all climbs."""
        found, goal, call = self.found, self.found.goal, self.call
        found.queries = found.queries + goal.any_class  # choosing the classes took a pass
        return found.result(
            call,
            already=goal.is_adversarial(call.clean_logits()),
            logits=self.logits,
            random=call.random,
            history=torch.stack(self.history),  # (climbs * steps, B)
        )
