"""The flickering attack: the colour of whole frames changes a little, over time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from attacks.attack import AttackResult, Norm, Progress
from attacks.common.active_set import ActiveSet, is_check_step
from attacks.common.forward import wrap_forward
from attacks.common.frozen import frozen
from attacks.common.goal import Classifier, Goal, value_and_gradient
from attacks.common.inputs import check_call, check_clips, check_eps, clone_inputs
from attacks.common.optimizers import Adam
from attacks.common.threat import Threat, check_radius, column
from attacks.common.verify import verify
from attacks.common.warnings import without_slope
from attacks.minimum_norm.best_by_norm import clearance
from attacks.video.flicker_loss import FlickerLoss
from attacks.video.flicker_pattern import add_pattern, visibility


@dataclass(frozen=True)
class Flicker(FlickerLoss):
    """Adds to every frame of a clip one value a channel, the same for all its pixels.

    Adam lowers the objective of `FlickerLoss` for each clip by itself; of the patterns that meet
    the goal the least visible one is kept, and without one that with the lowest loss. A clip
    that needs no pattern leaves at once. No value goes where no pixel of its frame can pass_mask.

    Once the goal is met, what is visible is all that is left to lower, and its slope is small: in
    the paper most of 2500 steps go there. One change: in a step whose pattern meets the goal that
    slope counts `press` times, so the pattern soon shrinks to the boundary and moves along it.

    Args:
        eps: largest size of a pattern's values, in pixel units; a number or (B,). The authors'
            code has 0.4 of the range [-1, 1], 0.2 here.
        steps: at most so many, a forward and a backward pass each.
        press: how many times the slope of what is visible counts where the goal is met; 1 is the
            paper's descent.
        early_stop: the first success of a clip is its result, and the clip leaves.
        **others: see `FlickerLoss`.

    Source: Naeh et al. 2020, section 3, eq. (1); there 2500 steps, a tenth as long.
    """

    eps: float | Tensor = 0.2
    steps: int = 100
    press: float = 30.0
    early_stop: bool = False

    own_eps: ClassVar[bool] = True  # it is no budget: the jobs leave it as it is
    needs_videos: ClassVar[bool] = True
    norm: ClassVar[Norm] = "linf"

    def __post_init__(self) -> None:
        """Refuse impossible options at once."""
        super().__post_init__()
        check_radius("linf", self.eps)
        if self.steps < 1:
            raise ValueError(f"steps={self.steps}; give a number >= 1")
        if not 1 <= self.press < math.inf:
            raise ValueError(f"press is {self.press}; give a finite number >= 1")

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
        """Perturb videos x (B, C, T, H, W); see `Attack.__call__`. Nothing here is random.

        Returns:
            The result; `loss` and `history` are the objective. `info` holds "pattern" (B, C, T)
            in pixel units, "first_success" (B,), the step at which the goal was first met (0: it
            needed no pattern; -1: never), and in % of full scale, all (B,), "thickness" and
            "roughness" of the pattern, "thickness_clipped" and "roughness_clipped" of x_adv - x.

        Raises:
            ValueError: for images, too.
        """
        check_call(model, x, y, target=target, seed=seed, sample_ids=sample_ids)
        check_clips(x)
        with frozen(model):
            x, y, target = clone_inputs(model, x, y, target)
            goal = Goal(y, target, "margin")
            forward, random = wrap_forward(model, x)
            active = ActiveSet(self._start(x, goal), torch.arange(len(x), device=x.device))
            history = self._search(forward, active, progress)
            end = active.everything()
            x_adv = Threat.around(x, norm="linf", eps=self.eps).project(x + end.best)
            result = verify(
                model,
                x,
                x_adv,
                goal=goal,
                queries=end.queries,
                random=random,
                history=history,
                stuck=end.stuck & (end.first < 0) & ~end.value.isnan(),
                info={
                    "pattern": end.best.flatten(2),  # (B, C, T)
                    "first_success": end.first,
                    **visibility(end.best, x_adv - x),
                },
            )
        return replace(result, loss=end.value)

    def _search(
        self, forward: Classifier, active: ActiveSet["FlickerState"], progress: Progress | None
    ) -> Tensor:
        """Take all steps; return the objective before each, (steps, B)."""
        history: list[Tensor] = []
        for step in range(self.steps):
            if is_check_step(step):
                active.drop(active.now.done)
            state = active.now
            values = self._step(forward, state, step) if len(active.rows) else state.value
            history.append(active.spread(values, absent=torch.nan))
            if progress:
                progress(step + 1, self.steps)
        return torch.stack(history)  # (steps, B)

    def _start(self, x: Tensor, goal: Goal) -> "FlickerState":
        """Begin without a pattern."""
        eps = check_eps(self.eps, x)
        pattern = x.new_zeros(*x.shape[:3], 1, 1)  # (B, C, T, 1, 1)
        nothing = torch.full_like(x[:, 0, 0, 0, 0], torch.nan)
        return FlickerState(
            x=x,
            goal=goal,
            low=-torch.minimum(x.amax((3, 4), keepdim=True), eps),
            high=torch.minimum(1 - x.amin((3, 4), keepdim=True), eps),
            pattern=pattern,
            adam=Adam.like(pattern),
            best=pattern,
            value=nothing,
            cost=torch.full_like(nothing, torch.inf),
            miss=torch.full_like(nothing, torch.inf),
            first=torch.full_like(goal.y, -1),
            done=torch.zeros_like(nothing, dtype=torch.bool),
            stuck=torch.zeros_like(nothing, dtype=torch.bool),
            queries=torch.zeros_like(goal.y),
        )

    def _step(self, model: Classifier, state: "FlickerState", step: int) -> Tensor:
        """Look at the patterns, keep the best, and move them; return the objective (A,)."""
        x_adv, pass_mask = add_pattern(state.x, state.pattern)
        logits, miss, gradient = value_and_gradient(
            model, x_adv, lambda logits: self.miss(logits, state.goal)
        )
        gradient = gradient.mul_(pass_mask).sum((3, 4), keepdim=True)  # (A, C, T, 1, 1)
        cost, slope = self.visible(state.pattern)
        value = (cost + miss).masked_fill(~torch.isfinite(logits).all(1), torch.nan)
        going = ~state.done
        met = state.goal.is_adversarial(logits) & (state.goal.objective(logits) > clearance(logits))
        self._keep(state, met, cost=cost, miss=miss, value=value, step=step)
        state.stuck = state.stuck | (without_slope(gradient) & (state.first < 0))
        state.queries = state.queries + going
        slope = torch.where(column(met, slope), self.press * slope, slope)
        gradient = gradient.nan_to_num(0, 0, 0) + slope
        move = state.adam.step(gradient, number=step + 1, lr=self.rate(step / self.steps))
        state.pattern = (state.pattern - move).maximum(state.low).minimum(state.high)
        return value.masked_fill(~going, torch.nan)

    def _keep(
        self,
        state: "FlickerState",
        met: Tensor,
        *,
        cost: Tensor,
        miss: Tensor,
        value: Tensor,
        step: int,
    ) -> None:
        """Take over the patterns that are the best so far, and see who is done."""
        nearer = (state.first < 0) & (miss < state.miss)
        better = ~state.done & ~value.isnan() & torch.where(met, cost < state.cost, nearer)
        state.first = torch.where(met & (state.first < 0), step, state.first)
        state.best = torch.where(column(better, state.best), state.pattern, state.best)
        state.cost = torch.where(better & met, cost, state.cost)
        state.miss, state.value = (
            torch.where(better, new, old) for new, old in ((miss, state.miss), (value, state.value))
        )
        fooled = state.first >= 0
        state.done = state.done | (fooled if self.early_stop else fooled & (state.first == 0))


@dataclass
class FlickerState:
    """What is known of each clip: the best pattern, its value, cost and missing lead."""

    x: Tensor
    goal: Goal
    low: Tensor
    high: Tensor
    pattern: Tensor
    adam: Adam
    best: Tensor
    value: Tensor
    cost: Tensor
    miss: Tensor
    first: Tensor
    done: Tensor
    stuck: Tensor
    queries: Tensor
