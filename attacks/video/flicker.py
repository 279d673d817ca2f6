"""The flickering attack: the colour of whole frames changes a little, over time."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from attacks.attack import AttackResult, Norm
from attacks.common.active_set import ActiveSet, is_check_step
from attacks.common.batch_attack import Call, GradientAttack
from attacks.common.best_by_loss import verify
from attacks.common.goal import Classifier, Goal, without_slope
from attacks.common.optimizers import Adam
from attacks.common.options import Count, at_least
from attacks.common.threat import Threat, check_eps, column
from attacks.minimum_norm.best_by_norm import clearance
from attacks.video.flicker_loss import FlickerLoss, visibility


@dataclass(frozen=True)
class Flicker(FlickerLoss, GradientAttack):
    """Add one value for each channel and frame of a clip, the same for all pixels of the frame.

    Adam lowers the loss of `FlickerLoss` for each clip by itself. The result is the least visible
    pattern that meets the goal, or the one with the lowest loss if none does. A clip that is
    misclassified when clean leaves at once. No value exceeds the largest change that the pixels
    of its frame can follow. Nothing is random.

    Once the goal is met, the visibility alone is left to lower, and its gradient is small: the
    paper spends most of 2500 steps there. One change to the paper: at a pattern that meets the
    goal the gradient of the visibility counts `press` times, so that the pattern soon shrinks to
    the decision boundary and moves along it.

    The result's `loss` and `history` are the loss of `FlickerLoss`. Its `info` holds "pattern"
    (B, C, T) in pixel units; "first_success" (B,), the step of the first success (0: without a
    pattern, -1: never); and, all (B,) in % of full scale, "thickness" and "roughness" of the
    pattern, "thickness_clipped" and "roughness_clipped" of x_adv - x.

    Args:
        eps: largest size of a pattern's values, in pixel units; a number or (B,). The authors'
            code has 0.4 of the range [-1, 1], 0.2 here.
        steps: largest number of steps, each a forward and a backward pass.
        press: factor on the gradient of the visibility where the goal is met; 1 is the paper's
            descent.
        early_stop: return the first success of a clip; the clip leaves the batch.

    Source: Naeh et al. 2020, section 3, eq. (1); there 2500 steps, each a tenth as long.
    """

    eps: float | Tensor = 0.2
    steps: Count = 100
    press: Annotated[float, at_least(1)] = 30.0
    early_stop: bool = False

    own_eps: ClassVar[bool] = True  # no budget: the jobs do not replace it
    needs_videos: ClassVar[bool] = True
    norm: ClassVar[Norm] = "linf"
    draws: ClassVar[bool] = False

    def perturb(self, call: Call) -> AttackResult:
        """Search for a pattern for each clip of a batch, and evaluate the model on the clips."""
        x, goal = call.x, Goal(call.y, call.target, "margin")
        active = ActiveSet(self._start(x, goal), torch.arange(len(x), device=x.device))
        history: list[Tensor] = []
        for step in range(self.steps):
            if is_check_step(step):
                active.drop(active.now.done)
            state = active.now
            values = self._step(call.forward, state, step) if len(active.rows) else state.value
            history.append(active.spread(values, absent=torch.nan))
            call.progress(step + 1, self.steps)
        end = active.everything()
        x_adv = Threat.around(x, norm="linf", eps=self.eps).project(x + end.best)
        result = verify(
            call,
            x_adv,
            goal,
            queries=end.queries,
            random=call.random,
            history=torch.stack(history),  # (steps, B)
            stuck=end.stuck & (end.first < 0) & ~end.value.isnan(),
            info={
                "pattern": end.best.flatten(2),  # (B, C, T)
                "first_success": end.first,
                **visibility(end.best, x_adv - x),
            },
        )
        return replace(result, loss=end.value)

    def _start(self, x: Tensor, goal: Goal) -> "FlickerState":
        """Return the state before the first step, with patterns of zeros."""
        eps = check_eps(self.eps, x)
        pattern = x.new_zeros(*x.shape[:3], 1, 1)  # (B, C, T, 1, 1)
        nan = torch.full_like(x[:, 0, 0, 0, 0], torch.nan)
        return FlickerState(
            x=x,
            goal=goal,
            low=-torch.minimum(x.amax((3, 4), keepdim=True), eps),
            high=torch.minimum(1 - x.amin((3, 4), keepdim=True), eps),
            pattern=pattern,
            adam=Adam.like(pattern),
            best=pattern,
            value=nan,
            cost=torch.full_like(nan, torch.inf),
            margin_loss=torch.full_like(nan, torch.inf),
            first=torch.full_like(goal.y, -1),
            done=torch.zeros_like(nan, dtype=torch.bool),
            stuck=torch.zeros_like(nan, dtype=torch.bool),
            queries=torch.zeros_like(goal.y),
        )

    def _step(self, model: Classifier, state: "FlickerState", step: int) -> Tensor:
        """Evaluate the patterns, store the best, take Adam's step; return the loss (A,)."""
        logits, margin_loss, gradient = self.margin_and_gradient(
            model, state.x, state.pattern, state.goal
        )
        cost, slope = self.visibility_and_gradient(state.pattern)
        value = (cost + margin_loss).masked_fill(~torch.isfinite(logits).all(1), torch.nan)
        going = ~state.done
        met = state.goal.is_adversarial(logits) & (state.goal.objective(logits) > clearance(logits))
        state.update(met, cost=cost, margin_loss=margin_loss, value=value, step=step)
        fooled = state.first >= 0
        state.done = state.done | (fooled if self.early_stop else state.first == 0)
        state.stuck = state.stuck | (without_slope(gradient) & ~fooled)
        state.queries = state.queries + going
        slope = torch.where(column(met, slope), self.press * slope, slope)
        gradient = gradient.nan_to_num(0, 0, 0) + slope
        move = state.adam.step(gradient, number=step + 1, lr=self.rate(step / self.steps))
        state.pattern = (state.pattern - move).maximum(state.low).minimum(state.high)
        return value.masked_fill(~going, torch.nan)


@dataclass
class FlickerState:
    """The patterns of a batch of clips, and the best pattern of each so far.

    Attributes:
        x: clips (B, C, T, H, W).
        goal: labels, or targets.
        low: smallest value of a pattern, (B, C, T, 1, 1).
        high: largest value of a pattern, (B, C, T, 1, 1).
        pattern: the present patterns, (B, C, T, 1, 1).
        adam: the optimizer's moments.
        best: the best patterns, like `pattern`.
        value: their loss, (B,); NaN until some logits are finite.
        cost: their visibility, (B,); infinite until the goal is met.
        margin_loss: theirs, (B,).
        first: step of the first success, int64 (B,); -1 before it.
        done: bool (B,), clips that are to leave.
        stuck: bool (B,), clips that met a zero gradient before the first success.
        queries: forward passes spent, int64 (B,).
    """

    x: Tensor
    goal: Goal
    low: Tensor
    high: Tensor
    pattern: Tensor
    adam: Adam
    best: Tensor
    value: Tensor
    cost: Tensor
    margin_loss: Tensor
    first: Tensor
    done: Tensor
    stuck: Tensor
    queries: Tensor

    def update(
        self, met: Tensor, *, cost: Tensor, margin_loss: Tensor, value: Tensor, step: int
    ) -> None:
        """Store the present patterns that are better than the best.

        Args:
            met: bool (B,), patterns that meet the goal.
            cost: visibility, (B,).
            margin_loss: (B,).
            value: loss, (B,).
            step: number of the step, from 0.
        """
        nearer = (self.first < 0) & (margin_loss < self.margin_loss)
        better = ~self.done & ~value.isnan() & torch.where(met, cost < self.cost, nearer)
        self.first = torch.where(met & (self.first < 0), step, self.first)
        self.best = torch.where(column(better, self.best), self.pattern, self.best)
        self.cost = torch.where(better & met, cost, self.cost)
        self.margin_loss = torch.where(better, margin_loss, self.margin_loss)
        self.value = torch.where(better, value, self.value)
