"""Options of the gradient-sign family: steps along the gradient inside a ball."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from attacks.attack import AttackResult, Norm, Progress
from attacks.common.active_set import (
    ActiveSet,
    index_rows,
    is_check_step,
    scatter_rows,
    unfinished_rows,
)
from attacks.common.begin import Call, begin
from attacks.common.best_by_loss import BestByLoss
from attacks.common.goal import (
    Classifier,
    Goal,
    LossName,
    check_loss,
    logits_of,
    value_and_gradient,
    warnings_of,
    without_slope,
)
from attacks.common.options import check_kinds
from attacks.common.threat import Threat, check_norm, check_radius


@dataclass(frozen=True)
class Climb:
    """What all attacks share that step along the gradient and project to the ball.

    Subclasses differ in where they start, what they pursue and how they turn a gradient into a
    direction.

    Args:
        norm: "linf", "l2" or "l1".
        eps: radius in pixel units, a number or one a sample (B,).
        steps: gradient steps of each start.
        step_size: in pixel units; None takes eps / steps, or what the subclass says.
        loss: "ce", "margin" or "dlr".
        early_stop: for evaluation: a sample's first success is its result, and it leaves the
            batch. Else all steps are taken and the success with the highest loss is kept, which
            is what training wants.
        bf16: run the model under bfloat16 autocast. All else stays float32, and one more forward
            pass in float32 decides about success.
        compile: run the model and the step through torch.compile.
    """

    norm: Norm = "linf"
    eps: float | Tensor = 8 / 255
    steps: int = 10
    step_size: float | None = None
    loss: LossName = "ce"
    early_stop: bool = False
    bf16: bool = False
    compile: bool = False

    reach: ClassVar[float] = 1.0  # how many radii the steps of one start span by default

    def __post_init__(self) -> None:
        """Refuse impossible options at once."""
        check_kinds(self)
        check_norm(self.norm)
        check_radius(self.norm, self.eps)
        check_loss(self.loss)
        if self.steps < 1:
            raise ValueError(f"steps={self.steps}; give at least 1")
        if self.step_size is not None and not 0 < self.step_size < torch.inf:
            raise ValueError(f"step_size is {self.step_size}; give a number > 0, or None")

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
        with begin(
            model, x, y, target=target, seed=seed, sample_ids=sample_ids, progress=progress,
            passes=self.starts * (self.steps + 1), bf16=self.bf16, compiled=self.compile,
        ) as call:  # fmt: skip
            threat = Threat.around(call.x, norm=self.norm, eps=self.eps)
            goal = self._goal(model, call.x, call.y, call.target)
            climber = Climber(call, self, goal, threat)
            for _ in range(self.starts):
                climber.run(self._start(threat, call.generators))
            return climber.result()

    def length(self, eps: Tensor) -> float | Tensor:
        """Return the length of a step in balls of radius eps, (A, 1, ..., 1)."""
        return eps * self.reach / self.steps if self.step_size is None else self.step_size

    @property
    def starts(self) -> int:
        """How often to climb."""
        return 1

    def turn(self, gradient: Tensor, previous: Tensor) -> Tensor:
        """Return the direction of the next step, from the one before; all (B, ...)."""
        return gradient

    def _goal(self, model: Classifier, x: Tensor, y: Tensor, target: Tensor | None) -> Goal:
        """Return what to pursue."""
        return Goal(y, target, self.loss)

    def _start(self, threat: Threat, generators: Sequence[torch.Generator]) -> Tensor:
        """Return where to begin, (B, ...)."""
        return threat.x


@dataclass
class State:
    """How far each sample has come, a row for each in all tensors.

    Attributes:
        goal: what it pursues.
        threat: the ball it stays in.
        best: the best it has seen.
        x_adv: where it is.
        direction: of its last step.
        queries: forward passes spent on it, int64 (A,).
        stuck: whether it met a gradient without slope before it was fooled, bool (A,).
        left: whether it is done, bool (A,).
    """

    goal: Goal
    threat: Threat
    best: BestByLoss
    x_adv: Tensor
    direction: Tensor
    queries: Tensor
    stuck: Tensor
    left: Tensor


class Climber:
    """One call of an attack: climb from one start or several, then ask for the result."""

    def __init__(
        self,
        call: Call,
        rules: Climb,
        goal: Goal,
        threat: Threat,
    ) -> None:
        """Begin at the clean samples of `threat`."""
        x, no = threat.x, torch.zeros_like(goal.y, dtype=torch.bool)
        # To choose the class of a goal without a target given took a pass.
        queries = torch.full_like(goal.y, int(goal.any_class))
        self.state = State(
            goal, threat, BestByLoss.start(x), x, torch.zeros_like(x), queries, no, no
        )
        self.model, self.rules, self.progress = call.model, rules, call.progress
        self.forward, self.random = call.forward, call.random
        self.advance = torch.compile(advance) if rules.compile else advance
        self.first_logits: Tensor | None = None
        self.began_at_x = False
        self.history: list[Tensor] = []

    def run(self, start: Tensor) -> None:
        """Climb from start (B, ...)."""
        self.state.x_adv, self.state.direction = start, torch.zeros_like(start)
        if self.first_logits is None:
            self.began_at_x = start is self.state.threat.x
        confirmed = self.state.best
        if self.rules.bf16:  # what float32 has confirmed gives way to nothing unconfirmed
            self.state.best = BestByLoss.start(self.state.threat.x)
        active = ActiveSet(self.state, torch.arange(len(start), device=start.device))
        for step in range(self.rules.steps):
            if self.rules.early_stop and is_check_step(step):
                if self.rules.bf16:
                    self._confirm(active.now, claims_only=True)
                active.drop(active.now.left)
            self._record(active.spread(self._step(active.now), absent=torch.nan))
        self._check(active.now)
        self.state = active.everything()
        if self.rules.bf16:
            self._confirm(self.state, claims_only=False)
            confirmed.merge(self.state.best)
            self.state.best = confirmed

    def _step(self, state: State) -> Tensor:
        """Look at each sample, then move it; return the values before, NaN where it has left."""
        left = state.left
        if not len(left):
            return state.best.value
        logits, value, gradient = value_and_gradient(
            self.forward, state.x_adv, state.goal.objective
        )
        self._note(state, logits, value)
        searching = state.best.finite & ~state.best.success & ~left
        state.stuck = state.stuck | (searching & without_slope(gradient))
        state.direction = self.rules.turn(gradient, state.direction)
        length = self.rules.length(state.threat.eps)
        state.x_adv = self.advance(state.threat, state.x_adv, state.direction, length)
        return value.masked_fill(left, torch.nan)

    def _check(self, state: State) -> None:
        """Look at where the last step has led."""
        if len(state.left):
            with torch.no_grad():
                logits = logits_of(self.forward, state.x_adv)
            self._note(state, logits, state.goal.objective(logits))

    def _note(self, state: State, logits: Tensor, value: Tensor) -> None:
        """Keep what is better than before."""
        if self.first_logits is None:
            self.first_logits = logits
        early = self.rules.early_stop
        state.best.update(state.x_adv, state.goal, logits=logits, value=value, keep_first=early)
        state.queries = state.queries + ~state.left
        if early and not self.rules.bf16:
            state.left = state.best.success

    def _confirm(self, state: State, *, claims_only: bool) -> None:
        """Let float32 decide about what bfloat16 has found, or about its new successes alone."""
        done = state.left | ~state.best.success if claims_only else state.left
        rows = unfinished_rows(done)
        rows = torch.arange(len(done), device=done.device) if rows is None else rows
        part, asked = index_rows(state, rows), ~done[rows]
        if len(rows):
            self._judge(part, asked)
            whole = scatter_rows(state, rows, part)
            state.best, state.queries, state.left = whole.best, whole.queries, whole.left

    def _judge(self, state: State, asked: Tensor) -> None:
        """Take success and value of the best iterates from float32 where asked, bool (A,)."""
        best = state.best
        with torch.no_grad():
            logits = logits_of(self.model, best.x_adv)
        finite = torch.isfinite(logits).all(1)
        value = state.goal.objective(logits).masked_fill(~finite, torch.nan)
        best.success = torch.where(asked, state.goal.is_adversarial(logits), best.success)
        best.value = torch.where(asked, value, best.value)
        best.finite = best.finite & (finite | ~asked)
        state.queries = state.queries + asked
        if self.rules.early_stop:
            state.left = state.left | best.success

    def _record(self, value: Tensor) -> None:
        """Write down the values (B,) before a step."""
        self.history.append(self.state.goal.as_loss(value))
        self.progress(len(self.history), self.rules.starts * self.rules.steps)

    def _already(self) -> Tensor:
        """Return which samples met the goal before, bool (B,); a pass of x where none was yet."""
        goal, bf16 = self.state.goal, self.rules.bf16
        if self.began_at_x and not bf16 and self.first_logits is not None:
            return goal.is_adversarial(self.first_logits)
        with torch.no_grad():
            return goal.is_adversarial(
                logits_of(self.model if bf16 else self.forward, self.state.threat.x)
            )

    def result(self) -> AttackResult:
        """Return what was found."""
        state, best = self.state, self.state.best
        assert self.first_logits is not None  # there was a run
        chosen = {"target": state.goal.target} if state.goal.any_class else {}
        trouble = warnings_of(
            state.goal, self.first_logits, finite=best.finite, stuck=state.stuck, random=self.random
        )
        return AttackResult(
            x=state.threat.x,
            x_adv=best.x_adv,
            success=best.success,
            already=self._already(),
            queries=state.queries,
            loss=state.goal.as_loss(best.value),
            history=torch.stack(self.history),  # (starts * steps, B)
            info={**chosen, **trouble},
        )


def advance(threat: Threat, x_adv: Tensor, direction: Tensor, length: float | Tensor) -> Tensor:
    """Return x_adv one step further, in the ball and in [0, 1], (A, ...)."""
    return threat.project(threat.ascent(direction, at=x_adv, length=length).add_(x_adv))
