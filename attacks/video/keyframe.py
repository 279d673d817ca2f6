"""The keyframe attack: few frames of a video, chosen by a gradient, and changed a little."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from attacks.attack import AttackResult, Norm
from attacks.common.active_set import ActiveSet, is_check_step
from attacks.common.batch_attack import Call, GradientAttack
from attacks.common.best_by_loss import BestByLoss, SearchState, verify
from attacks.common.goal import Classifier, Goal, LossName, value_and_gradient
from attacks.common.optimizers import Adam
from attacks.common.options import Count, NonNegative, Positive, Share
from attacks.common.threat import Threat, column
from attacks.video.frame_weights import Weight, frame_weights
from attacks.video.keyframes import (
    Frames,
    check_count,
    fixed_frames,
    frame_differences,
    parse_frames,
    replace_frames,
    select_by_share,
    select_heaviest,
    take_frames,
)
from attacks.video.sparsity import (
    GRAY_LEVELS,
    frame_directions,
    frame_sizes,
    log_error_probability,
)

_START = 0.01 / 255  # initial change of each value
_STEPS = {False: 500, True: 1000}  # by whether there is a target
_BOUNDARY = {False: 0.3, True: 0.4}
# Options that need one value of `frames`.
_ONLY = {"weight": "gradient", "layer": "gradient", "b": "gradient", "fixed": "fixed"}


@dataclass(frozen=True)
class Keyframe(GradientAttack):
    """Change some frames of a clip with Adam: towards the goal, and back towards x once it is met.

    The loss of a clip is its cross entropy while it is not fooled, and the L2,1 norm, the sum of
    the l2 lengths of its frames' changes, while it is. The result is the success with the
    smallest norm. One change to the paper: the stored change keeps pixels in [0, 1], where the
    paper clips the pixels alone, so that those at 0 or 1 never change. Nothing is random.

    The result's `info` holds "keyframes" (B, T), the frames that may change; for "gradient" and
    "ifd" the "weights" (B, T) that chose them; "first_success" (B,), the step of the first
    success, from 1, and "queries_to_success" (B,), which adds the pass that chose the frames,
    both 0 without success; "mean_abs" and "mean_abs_255" (B,), the mean |x_adv - x| of the whole
    clip in pixel units and in gray levels.

    Args:
        frames: that may change. "gradient": those with the largest `frame_weights`; "ifd": those
            that differ most from the frame before; "fixed": those of `fixed`; "all".
        weight: of "gradient": "abs", "l1", "relu" or "signed"; None takes "l1" of an LRCN, else
            "abs".
        layer: of "gradient": name of the module whose gradient weighs the frames; None finds it.
        b: of "gradient": choose the fewest frames with this share of the weights; None takes 0.3,
            with a target 0.4.
        fixed: "first" (also None), "uniform", or numbers from 0 joined by +, such as 0+3+7.
        count: number of frames; None uses `b`, or takes a quarter (with a target 5 of 16).
        lam: None switches between the two losses. A number adds this many L2,1 norms to the
            first loss at all times, in gray levels and of each frame's root mean square, and
            replaces the cross entropy by log(1 - p): with `frames="fixed"` that is SA, whose
            weight, 1 in units of [0, 1], is 1/255 here.
        eps: largest change of any value, in pixel units, a number or (B,); 1 is no limit.
        steps: number of steps; None takes 500, with a target 1000.
        lr: Adam's learning rate, in pixel units.
        loss: "ce", "margin" or "dlr".
        early_stop: return the first success of a clip; the clip leaves the batch.

    Source: Xu et al. 2023, sections 3 and 4; SA: Wei et al. 2019.
    """

    frames: Frames = "gradient"
    weight: Weight | None = None
    layer: str | None = None
    b: Share | None = None
    fixed: str | None = None
    count: Count | None = None
    lam: NonNegative | None = None
    eps: float | Tensor = 1.0
    steps: Count | None = None
    lr: Positive = 1e-3
    loss: LossName = "ce"
    early_stop: bool = False

    own_eps: ClassVar[bool] = True  # no budget: the jobs do not replace it
    needs_videos: ClassVar[bool] = True
    norm: ClassVar[Norm] = "linf"
    draws: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Raise ValueError for impossible options."""
        super().__post_init__()
        for name, frames in _ONLY.items():
            if getattr(self, name) is not None and self.frames != frames:
                raise ValueError(f"{name} is for frames={frames}; frames is {self.frames}")
        numbered = self.fixed not in (None, "first", "uniform")
        if numbered:
            parse_frames(str(self.fixed))
        if self.count is not None and (self.frames == "all" or numbered or self.b is not None):
            raise ValueError("count says how many frames; leave out b, a list in fixed, and all")

    def perturb(self, call: Call) -> AttackResult:
        """Choose frames, search for changes of them, and evaluate the model on the clips."""
        x, goal = call.x, Goal(call.y, call.target, self.loss)
        threat = Threat.around(x, norm="linf", eps=self.eps)
        keyframes, chosen_by = self._choose(call.model, x, targeted=call.target is not None)
        start = KeyframeState.start(threat, goal, keyframes)
        active = ActiveSet(start, torch.arange(len(x)).to(start.index))
        history: list[Tensor] = []
        steps = self.steps or _STEPS[goal.target is not None]
        for number in range(1, steps + 1):
            if self.early_stop and is_check_step(number - 1):
                active.drop(active.now.left)
            value = self._step(call.forward, active.now, number)
            history.append(active.spread(value, absent=torch.nan))
            call.progress(number, steps)
        end, selection = active.everything(), int(self.frames == "gradient")
        x_adv = threat.project(replace_frames(x, end.index, end.best.x_adv))
        mean = (x_adv - x).abs().flatten(1).mean(1)
        return verify(
            call,
            x_adv,
            goal,
            queries=end.queries + selection,
            random=call.random,
            history=goal.as_loss(torch.stack(history)),  # (steps, B)
            stuck=end.stuck,
            info={
                "mean_abs": mean,
                "mean_abs_255": GRAY_LEVELS * mean,
                "keyframes": keyframes,
                **chosen_by,
                "first_success": end.first,
                "queries_to_success": torch.where(end.first > 0, end.first + selection, 0),
            },
        )

    def _choose(
        self, model: nn.Module, x: Tensor, *, targeted: bool
    ) -> tuple[Tensor, dict[str, Any]]:
        """Return the frames that may change, bool (B, T), and {"weights": (B, T)} or {}."""
        frames = x.shape[2]
        if self.frames == "all":
            return x.new_ones(len(x), frames, dtype=torch.bool), {}
        count = check_count(self.count, frames, targeted=targeted)
        if self.frames == "fixed":
            mask = torch.zeros(frames, dtype=torch.bool, device=x.device)
            mask[fixed_frames(self.fixed or "first", frames, count)] = True
            return mask.expand(len(x), -1).clone(), {}
        if self.frames == "ifd":
            weights = frame_differences(x)
            return select_heaviest(weights, count), {"weights": weights}
        passes = [
            frame_weights(model, x, weight=self.weight, layer=self.layer) for _ in range(self.eot)
        ]
        weights = torch.stack(passes).mean(0)  # (B, T)
        if self.count is not None:
            return select_heaviest(weights, count), {"weights": weights}
        return select_by_share(weights, self.b or _BOUNDARY[targeted]), {"weights": weights}

    def _step(self, model: Classifier, state: "KeyframeState", number: int) -> Tensor:
        """Evaluate the clips, store the best, take Adam's step.

        Returns:
            The goal's objective before the step, (A,), NaN for clips that have left.
        """
        if not len(state.left):
            return state.best.value
        goal, best, left = state.goal, state.best, state.left
        frames = state.frames + state.delta  # (A, K, C, H, W)
        logits, value, whole = value_and_gradient(
            model,
            replace_frames(state.x, state.index, frames),
            lambda logits: self._objective(logits, goal),
        )
        gradient = take_frames(whole, state.index)  # (A, K, C, H, W)
        met, sizes = goal.is_adversarial(logits), frame_sizes(state.delta)
        rank = torch.where(met, -sizes.sum(1), value)  # of two successes the smaller norm wins
        best.update(frames, goal, logits=logits, value=rank, keep_first=self.early_stop)
        state.note_slope(gradient)
        state.first = torch.where(met & (state.first == 0) & ~left, number, state.first)
        state.count_pass(early_stop=self.early_stop)
        slope = self._slope(met, gradient, frame_directions(state.delta, sizes))
        state.delta.sub_(state.adam.step(slope.nan_to_num_(0, 0, 0), number=number, lr=self.lr))
        state.delta.clamp_(state.low, state.high)
        return value.masked_fill(left, torch.nan)

    def _slope(self, met: Tensor, gradient: Tensor, norm_slope: Tensor) -> Tensor:
        """Return the gradient of the loss, like delta.

        Args:
            met: bool (A,), clips that meet the goal.
            gradient: of the goal's objective, (A, K, C, H, W).
            norm_slope: gradient of the L2,1 norm, (A, K, C, H, W).
        """
        if self.lam is None:
            return torch.where(column(met, norm_slope), norm_slope, -gradient)
        return self.lam * GRAY_LEVELS / math.sqrt(norm_slope[0, 0].numel()) * norm_slope - gradient

    def _objective(self, logits: Tensor, goal: Goal) -> Tensor:
        """Return what the attack raises, (A,): log(1 - p) for SA, else the goal's objective."""
        if self.lam is not None and self.loss == "ce":
            return log_error_probability(logits, goal)
        return goal.objective(logits)


@dataclass
class KeyframeState(SearchState):
    """The changes of a batch of clips, in their K chosen frames alone.

    A clip with fewer than K chosen frames is filled up with frames that may not change; the best
    iterates are frames, too, (A, K, C, H, W).

    Attributes:
        x: clips (A, C, T, H, W).
        index: numbers of the frames, int64 (A, K).
        frames: of x, (A, K, C, H, W).
        low: smallest change, like `frames`.
        high: largest change, like `frames`.
        delta: the present change, like `frames`.
        adam: the optimizer's moments.
        first: step of the first success, int64 (A,), from 1; 0 before it.
        **others: see `SearchState`.
    """

    x: Tensor
    index: Tensor
    frames: Tensor
    low: Tensor
    high: Tensor
    delta: Tensor
    adam: Adam
    first: Tensor

    @classmethod
    def start(cls, threat: Threat, goal: Goal, keyframes: Tensor) -> "KeyframeState":
        """Begin near x, in the frames of a mask, bool (B, T)."""
        most = int(keyframes.sum(1).max())  # K
        index = keyframes.byte().argsort(dim=1, descending=True, stable=True)[:, :most]  # (B, K)
        chosen = keyframes.gather(1, index)[:, :, None, None, None]  # (B, K, 1, 1, 1)
        frames = take_frames(threat.x, index)  # (B, K, C, H, W)
        low = torch.where(chosen, (-frames).maximum(-threat.eps), 0)
        high = torch.where(chosen, (1 - frames).minimum(threat.eps), 0)
        delta = torch.full_like(frames, _START).clamp_(low, high)
        zero, best = torch.zeros_like(goal.y), BestByLoss.start(frames)
        known = (goal, best, zero, best.success, best.success)
        return cls(*known, threat.x, index, frames, low, high, delta, Adam.like(frames), zero)
