"""The loop of APGD: climb, go back to the peak where it pays, leave when fooled."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.attack import AttackResult
from attacks.common.active_set import ActiveSet, is_check_step
from attacks.common.best_by_loss import BestByLoss
from attacks.common.goal import (
    Classifier,
    Goal,
    logits_of,
    value_and_gradient,
    warnings_of,
    without_slope,
)
from attacks.common.threat import Threat, column
from attacks.gradient.apgd_rules import Rule, rule_for


@dataclass
class Climb:
    """Where one climb of each sample stands, and the highest point it came by.

    Attributes:
        x_adv: the present point, (B, ...).
        gradient: of the value there, (B, ...).
        value: of the goal there, (B,); NaN before it is known.
        peak: the point of the highest value, (B, ...).
        peak_gradient: its gradient, (B, ...).
        peak_value: its value, (B,).
        reviewed: the highest value at the last review, (B,).
        rises: how many steps since the last review raised the value, (B,).
    """

    x_adv: Tensor
    gradient: Tensor
    value: Tensor
    peak: Tensor
    peak_gradient: Tensor
    peak_value: Tensor
    reviewed: Tensor
    rises: Tensor

    @classmethod
    def start(cls, x_adv: Tensor) -> "Climb":
        """Begin at x_adv, before anything is known there."""
        zero, unknown = torch.zeros_like(x_adv), x_adv.new_full((len(x_adv),), torch.nan)
        rises = torch.zeros_like(unknown)
        return cls(x_adv, zero, unknown, x_adv, zero, unknown, unknown, rises)

    def arrive(self, value: Tensor, gradient: Tensor) -> None:
        """Take in what x_adv is worth: value (B,), NaN where unknown, and gradient (B, ...)."""
        higher = ~(value <= self.peak_value) & ~value.isnan()
        self.rises = self.rises + (value > self.value)
        self.value, self.gradient = value, gradient
        mask = column(higher, gradient)
        self.peak = torch.where(mask, self.x_adv, self.peak)
        self.peak_gradient = torch.where(mask, gradient, self.peak_gradient)
        self.peak_value = torch.where(higher, value, self.peak_value)

    def review(self, threat: Threat, rule: Rule, steps: int) -> None:
        """Let the rule look at the last `steps` steps, and return to the peak where it says so."""
        back = rule.review(
            threat,
            peak=self.peak,
            rising_share=self.rises / steps,
            new_peak=self.peak_value > self.reviewed,
        )
        mask = column(back, self.x_adv)
        self.x_adv = torch.where(mask, self.peak, self.x_adv)
        self.gradient = torch.where(mask, self.peak_gradient, self.gradient)
        self.reviewed, self.rises = self.peak_value, torch.zeros_like(self.rises)


@dataclass
class Found:
    """What all climbs together have found, a row for each sample.

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
    def start(cls, x: Tensor) -> "Found":
        """Begin with the clean samples and nothing known."""
        best = BestByLoss.start(x)
        no = best.success
        return cls(best, torch.zeros_like(no, dtype=torch.int64), no, no)

    def note(self, climb: Climb, goal: Goal, logits: Tensor, *, early_stop: bool) -> None:
        """Keep what is better than before, at a climb's present point."""
        best = self.best
        best.update(climb.x_adv, goal, logits=logits, value=climb.value, keep_first=early_stop)
        searching = best.finite & ~best.success
        self.stuck = self.stuck | (searching & without_slope(climb.gradient))
        if early_stop:
            self.left = best.success


@dataclass
class State:
    """All that a step works on, a row for each active sample."""

    goal: Goal
    threat: Threat
    rule: Rule
    climb: Climb
    found: Found


class Ascent:
    """One call of the attack: climbs from one start or several, to one goal or several.

    Attributes:
        found: what was found so far.
        logits: of the points looked at first, (B, K); empty before.
    """

    def __init__(
        self, model: Classifier, x: Tensor, *, early_stop: bool, record: Callable[[Tensor], None]
    ) -> None:
        """Prepare to climb.

        Args:
            model: the classifier, frozen and wrapped.
            x: the clean samples, (B, ...).
            early_stop: whether a sample leaves with its first success.
            record: called before each step with the values (B,), NaN where a sample has left.
        """
        self.model, self.early_stop, self.record = model, early_stop, record
        self.found = Found.start(x)
        self.logits = x.new_empty(0)

    def run(
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
        rule = rule_for(threat, start)
        active = ActiveSet(
            State(goal, threat, rule, Climb.start(start), self.found),
            torch.arange(len(start), device=start.device),
        )
        reviews = rule.reviews(steps)
        for step in range(steps + 1):
            if self.early_stop and is_check_step(step):
                active.drop(active.now.found.left)
            if len(active.rows):
                self._step(active.now, first=step == 0, last=step == steps, counts=counts)
            if step < steps:
                now = active.now
                value = now.climb.value.masked_fill(now.found.left, torch.nan)
                self.record(active.spread(value, absent=torch.nan))
            if step in reviews:
                active.now.climb.review(active.now.threat, active.now.rule, reviews[step])
        state = active.everything()
        self.found = state.found
        return state.climb.peak

    def _step(self, state: State, *, first: bool, last: bool, counts: bool) -> None:
        """Move, except at first, and look where that led; the last look needs no gradient."""
        goal, climb, found = state.goal, state.climb, state.found
        if not first:
            climb.x_adv = state.rule.move(state.threat, climb.x_adv, climb.gradient)
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

    def result(self, x: Tensor, goal: Goal, history: Tensor, *, random: bool) -> AttackResult:
        """Return what all climbs together have found.

        Args:
            x: the clean samples, (B, ...).
            goal: the first of the goals.
            history: the losses before each step, (climbs * steps, B).
            random: what `is_random` said of the model.
        """
        found, best = self.found, self.found.best
        with torch.no_grad():
            already = goal.is_adversarial(logits_of(self.model, x))
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
