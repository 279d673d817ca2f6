"""Projected gradient ascent: the loop that FGSM's iterations share, with its options."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from attacks.attack import AttackResult, Norm
from attacks.common.active_set import ActiveSet, is_check_step
from attacks.common.batch_attack import Call, GradientAttack
from attacks.common.best_by_loss import BestByLoss, SearchState
from attacks.common.goal import Classifier, Goal, LossName, detached_logits, value_and_gradient
from attacks.common.options import Count, Positive
from attacks.common.threat import Threat


@dataclass(frozen=True)
class ProjectedAscent(GradientAttack):
    """Climb the loss by steps along its gradient, each projected to the ball.

    Subclasses differ in where they start (`restarts`, `random_start`), which class they pursue
    (`_goal`), how they turn gradients into a direction (`direction`), and how far they step
    (`default_step_scale`, `step_length`).

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
    steps: Count = 10
    step_size: Positive | None = None
    loss: LossName = "ce"
    early_stop: bool = False
    bf16: bool = False
    compile: bool = False

    default_step_scale: ClassVar[float] = 1.0  # radii that the steps of one start span by default
    draws: ClassVar[bool] = False

    @property
    def restarts(self) -> int:
        """How many starts there are."""
        return 1

    @property
    def random_start(self) -> bool:
        """Whether each is a random point of the ball, not x."""
        return False

    def __post_init__(self) -> None:
        """Raise ValueError for impossible options."""
        super().__post_init__()
        if self.compile and self.bpda:
            raise ValueError(
                f"compile=True with bpda={self.bpda!r}: what is compiled knows no stand-in for "
                "gradients; leave one of them out"
            )

    def perturb(self, call: Call) -> AttackResult:
        """Ascend from each start, and return the best iterates."""
        passes = self.restarts * (self.steps + 1) * self.eot
        call = replace(call, passes=passes, bf16=self.bf16, compiled=self.compile)
        threat = Threat.around(call.x, norm=self.norm, eps=self.eps)
        run = AscentRun(self, call, self._goal(call.exact, call.x, call.y, call.target), threat)
        for _ in range(self.restarts):
            run.start(threat.random_start(call.generators) if self.random_start else call.x)
            for step in range(self.steps):
                state, gradient = run.evaluate(step)
                if gradient is None:  # all samples have left
                    continue
                state.direction = self.direction(gradient, state.direction)
                length = self.step_length(state.threat.eps)
                state.x_adv = run.step(state.threat, state.x_adv, state.direction, length)
            run.end()
        return run.result()

    def step_length(self, eps: Tensor) -> float | Tensor:
        """Return the length of a step in balls of radius eps, (A, 1, ..., 1)."""
        default = eps * self.default_step_scale / self.steps
        return default if self.step_size is None else self.step_size

    def direction(self, gradient: Tensor, previous: Tensor) -> Tensor:
        """Return the direction of the next step, from the one before; all (A, ...)."""
        return gradient

    def _goal(self, model: Classifier, x: Tensor, y: Tensor, target: Tensor | None) -> Goal:
        """Return the goal to pursue."""
        return Goal(y, target, self.loss)


def step(threat: Threat, x_adv: Tensor, direction: Tensor, length: float | Tensor) -> Tensor:
    """Return x_adv (A, ...) after one step along a direction, projected to the ball and [0, 1]."""
    return threat.project(threat.ascent(direction, at=x_adv, length=length).add_(x_adv))


@dataclass
class AscentState(SearchState):
    """The progress of each sample, a row for each in all tensors.

    Attributes:
        threat: the ball around it.
        x_adv: its present iterate.
        direction: of its last step.
        **others: see `SearchState`.
    """

    threat: Threat
    x_adv: Tensor
    direction: Tensor


class AscentRun:
    """The books of one call: the best iterates, the samples that left, and the history."""

    def __init__(self, options: ProjectedAscent, call: Call, goal: Goal, threat: Threat) -> None:
        """Open the books at the clean samples of `threat`."""
        x, no = threat.x, torch.zeros_like(goal.y, dtype=torch.bool)
        # To choose the class of a goal without a target given took a pass.
        queries = torch.full_like(goal.y, int(goal.any_class))
        best, still = BestByLoss.start(x), torch.zeros_like(x)
        self.state = AscentState(goal, best, queries, no, no, threat, x, still)
        self.options, self.call, self.forward = options, call, call.forward
        self.step = torch.compile(step) if options.compile else step
        self.logits: Tensor | None = None  # the first
        self.history: list[Tensor] = []
        self.began_at_x = False

    def start(self, x_adv: Tensor) -> None:
        """Begin to climb at x_adv (B, ...)."""
        state, x = self.state, self.state.threat.x
        state.x_adv, state.direction = x_adv, torch.zeros_like(x_adv)
        if self.logits is None:
            self.began_at_x = x_adv is x
        self.confirmed = state.best
        if self.options.bf16:  # what float32 has confirmed gives way to nothing unconfirmed
            state.best = BestByLoss.start(x)
        self.active = ActiveSet(state, torch.arange(len(x), device=x.device))

    def evaluate(self, step: int) -> tuple[AscentState, Tensor | None]:
        """Return the samples not done, and the gradient of their goals there; None without any."""
        if self.options.early_stop and is_check_step(step):
            if self.options.bf16:
                self._confirm(self.active.now, claims_only=True)
            self.active.drop(self.active.now.left)
        state = self.active.now
        if not len(state.left):
            self._record(state.best.value)
            return state, None
        logits, value, gradient = value_and_gradient(
            self.forward, state.x_adv, state.goal.objective
        )
        self._record(value.masked_fill(state.left, torch.nan))
        self._keep_best(state, logits, value)
        state.note_slope(gradient)
        return state, gradient

    def end(self) -> None:
        """Evaluate the end of the last step, and take all samples back."""
        state = self.active.now
        if len(state.left):
            logits = detached_logits(self.forward, state.x_adv)
            self._keep_best(state, logits, state.goal.objective(logits))
        self.state = self.active.everything()
        if self.options.bf16:
            self._confirm(self.state, claims_only=False)
            self.confirmed.merge(self.state.best)
            self.state.best = self.confirmed

    def _record(self, value: Tensor) -> None:
        """Record the values before a step, (A,); NaN for the samples that have left."""
        everyone = self.active.spread(value, absent=torch.nan)
        self.history.append(self.state.goal.as_loss(everyone))
        self.call.progress(len(self.history), self.options.restarts * self.options.steps)

    def _keep_best(self, state: AscentState, logits: Tensor, value: Tensor) -> None:
        """Keep the iterates that are better than those before."""
        if self.logits is None:
            self.logits = logits
        early = self.options.early_stop
        state.best.update(state.x_adv, state.goal, logits=logits, value=value, keep_first=early)
        state.count_pass(early_stop=early and not self.options.bf16)

    def _confirm(self, state: AscentState, *, claims_only: bool) -> None:
        """Verify in float32 the best iterates of bfloat16, or its new successes alone."""
        done = state.left | ~state.best.success if claims_only else state.left
        claims = ActiveSet(state, torch.arange(len(done), device=done.device))
        claims.drop(done)
        if len(claims.rows):
            self._verify(claims.now, ~done[claims.rows])
            whole = claims.everything()
            state.best, state.queries, state.left = whole.best, whole.queries, whole.left

    def _verify(self, state: AscentState, asked: Tensor) -> None:
        """Take success and value of the best iterates from float32 where asked, bool (A,)."""
        best = state.best
        logits = detached_logits(self.call.exact, best.x_adv)
        finite = torch.isfinite(logits).all(1)
        value = state.goal.objective(logits).masked_fill(~finite, torch.nan)
        best.success = torch.where(asked, state.goal.is_adversarial(logits), best.success)
        best.value = torch.where(asked, value, best.value)
        best.finite = best.finite & (finite | ~asked)
        state.queries = state.queries + asked
        if self.options.early_stop:
            state.left = state.left | best.success

    def result(self) -> AttackResult:
        """Return the best iterate of each sample."""
        state, call = self.state, self.call
        assert self.logits is not None  # there was a start
        # Who met the goal before: a pass of x tells where there was none yet.
        known = self.began_at_x and not self.options.bf16
        clean = self.logits if known else call.clean_logits()
        return state.result(
            call,
            already=state.goal.is_adversarial(clean),
            logits=self.logits,
            random=call.random,
            history=torch.stack(self.history),  # (restarts * steps, B)
            info={"target": state.goal.target} if state.goal.any_class else {},
        )
