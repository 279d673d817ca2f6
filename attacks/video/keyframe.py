"""The keyframe attack: few frames of a video, chosen by a gradient, and changed a little."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from attacks.attack import AttackResult, Norm, Progress
from attacks.common.active_set import ActiveSet, is_check_step
from attacks.common.best_by_loss import BestByLoss
from attacks.common.forward import wrap_forward
from attacks.common.frozen import frozen
from attacks.common.goal import Classifier, Goal, value_and_gradient
from attacks.common.inputs import check_call, check_clips, clone_inputs
from attacks.common.losses import LossName, check_loss
from attacks.common.optimizers import Adam
from attacks.common.options import check_kinds
from attacks.common.threat import Threat, check_radius, column
from attacks.common.verify import verify
from attacks.common.warnings import without_slope
from attacks.video.frame_weights import Weight, check_weight, frame_weights
from attacks.video.keyframes import (
    Frames,
    check_boundary,
    check_count,
    check_frames,
    differences,
    fixed_frames,
    frames_at,
    heaviest,
    listed,
    reaching,
    with_frames,
)
from attacks.video.sparsity import GRAY_LEVELS, frame_directions, frame_sizes, log_error_probability

_START = 0.01 / 255
_STEPS = {False: 500, True: 1000}  # by whether there is a target
_BOUNDARY = {False: 0.3, True: 0.4}
# Options of one way alone.
_ONLY = {"weight": "gradient", "layer": "gradient", "b": "gradient", "fixed": "fixed"}


@dataclass(frozen=True)
class Keyframe:
    """Adam on some frames of a clip: towards the goal until it is met, then back towards x.

    A clip's loss is its cross entropy while it is not fooled, and the L2,1 norm, the sum of the
    lengths of its frames' changes, while it is. Of all successes the one with the smallest norm
    is the result. One change to the paper: the change itself is kept where pixels stay in
    [0, 1], not the pixels alone, for else those at 0 or 1 would never move.

    Args:
        frames: which are changed. "gradient": those that weigh most in the classifier's answer, see
            `frame_weights`; "ifd": those that differ most from the one before; "fixed": as
            `fixed` says; "all".
        weight: of "gradient": "abs", "l1", "relu" or "signed"; None takes "l1" of an LRCN, else
            "abs".
        layer: of "gradient": the module whose gradient weighs the frames, None to find it.
        b: of "gradient": the fewest frames with this share of the weights; None takes 0.3, for
            a target 0.4.
        fixed: "first" frames, None means these; "uniform", spread evenly; or numbers from 0, 0+3+7.
        count: how many frames; None goes by `b`, or takes a quarter (for a target 5 of 16).
        lam: None switches between the two losses. A number adds this many L2,1 norms to the
            first at all times, in gray levels and of each frame's root mean square, and puts
            log(1 - p) for the cross entropy: with `frames="fixed"` that is SA, whose weight, 1 in
            units of [0, 1], is 1/255 here.
        eps: largest change of any value, a number or one a clip (B,); 1 is no limit.
        steps: passes on each clip; None takes 500, for a target 1000.
        lr: of Adam, in pixel units.
        loss: "ce", "margin" or "dlr".
        early_stop: a clip's first success is its result, and it leaves the batch.

    Source: Xu et al. 2023, sections 3 and 4; SA: Wei et al. 2019.
    """

    frames: Frames = "gradient"
    weight: Weight | None = None
    layer: str | None = None
    b: float | None = None
    fixed: str | None = None
    count: int | None = None
    lam: float | None = None
    eps: float | Tensor = 1.0
    steps: int | None = None
    lr: float = 1e-3
    loss: LossName = "ce"
    early_stop: bool = False

    own_eps: ClassVar[bool] = True  # it is no budget: the jobs leave it as it is
    needs_videos: ClassVar[bool] = True
    norm: ClassVar[Norm] = "linf"

    def __post_init__(self) -> None:
        """Refuse impossible options at once."""
        check_kinds(self)
        check_frames(self.frames)
        check_radius("linf", self.eps)
        if self.weight is not None:
            check_weight(self.weight)
        check_loss(self.loss)
        check_boundary(self.b)
        for name, frames in _ONLY.items():
            if getattr(self, name) is not None and self.frames != frames:
                raise ValueError(f"{name} is for frames={frames}; frames is {self.frames}")
        numbered = self.fixed not in (None, "first", "uniform")
        if numbered:
            listed(str(self.fixed))
        if self.count is not None and (self.frames == "all" or numbered or self.b is not None):
            raise ValueError("count says how many frames; leave out b, a list in fixed, and all")
        for name, least in (("count", 1), ("steps", 1), ("lam", 0)):
            value = getattr(self, name)
            if value is not None and not least <= value < math.inf:
                raise ValueError(f"{name} is {value}; give a number >= {least}, or None")
        if not 0 < self.lr < math.inf:
            raise ValueError(f"lr is {self.lr}; give a number > 0")

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
        """Perturb some frames of x; see `Attack.__call__`. Nothing here is random.

        Returns:
            The result. `info` holds "keyframes" (B, T), the frames that could be changed, and
            for "gradient" and "ifd" the "weights" (B, T) they were chosen by; "first_success"
            (B,), the step of it, from 1, and "queries_to_success" with the pass that chose the
            frames; both 0 where there is none; and "mean_abs" and "mean_abs_255" (B,), the mean
            |x_adv - x| over the whole clip in pixel units and in gray levels.

        Raises:
            ValueError: for images, or a layer or frames that there are not.
        """
        check_call(model, x, y, target=target, seed=seed, sample_ids=sample_ids)
        check_clips(x)
        with frozen(model):
            x, y, target = clone_inputs(model, x, y, target)
            threat, goal = Threat.around(x, norm="linf", eps=self.eps), Goal(y, target, self.loss)
            keyframes, chosen_by = self._chosen(model, x, targeted=target is not None)
            forward, random = wrap_forward(model, x)
            start = KeyframeState.start(threat, goal, keyframes)
            end, history = self._search(forward, start, progress)
            selection = int(self.frames == "gradient")  # passes
            result = verify(
                model,
                x,
                threat.project(with_frames(x, end.places, end.best.x_adv)),
                goal=goal,
                queries=end.queries + selection,
                random=random,
                history=goal.as_loss(history),
                stuck=end.stuck,
                info={
                    "keyframes": keyframes,
                    **chosen_by,
                    "first_success": end.first,
                    "queries_to_success": torch.where(end.first > 0, end.first + selection, 0),
                },
            )
        mean = result.delta.abs().flatten(1).mean(1)
        sizes = {"mean_abs": mean, "mean_abs_255": GRAY_LEVELS * mean}
        return replace(result, info=sizes | result.info)

    def _search(
        self, forward: Classifier, state: "KeyframeState", progress: Progress | None
    ) -> tuple["KeyframeState", Tensor]:
        """Take all steps; return the state after them, and the values before each, (steps, B)."""
        active = ActiveSet(state, torch.arange(len(state.left)).to(state.places))
        history: list[Tensor] = []
        steps = self.steps or _STEPS[state.goal.target is not None]
        for number in range(1, steps + 1):
            if self.early_stop and is_check_step(number - 1):
                active.drop(active.now.left)
            value = self._step(forward, active.now, number)
            history.append(active.spread(value, absent=torch.nan))
            if progress:
                progress(number, steps)
        return active.everything(), torch.stack(history)  # (steps, B)

    def _chosen(
        self, model: nn.Module, x: Tensor, *, targeted: bool
    ) -> tuple[Tensor, dict[str, Any]]:
        """Return which frames to change, bool (B, T), and what they were chosen by."""
        frames = x.shape[2]
        if self.frames == "all":
            return x.new_ones(len(x), frames, dtype=torch.bool), {}
        count = check_count(self.count, frames, targeted=targeted)
        if self.frames == "fixed":
            mask = torch.zeros(frames, dtype=torch.bool, device=x.device)
            mask[fixed_frames(self.fixed or "first", frames, count)] = True
            return mask.expand(len(x), -1).clone(), {}
        if self.frames == "ifd":
            weights = differences(x)
            return heaviest(weights, count), {"weights": weights}
        weights = frame_weights(model, x, weight=self.weight, layer=self.layer)
        if self.count is not None:
            return heaviest(weights, count), {"weights": weights}
        return reaching(weights, self.b or _BOUNDARY[targeted]), {"weights": weights}

    def _step(self, model: Classifier, state: "KeyframeState", number: int) -> Tensor:
        """Look at each clip, then move it; return the values before, NaN where it has left."""
        if not len(state.left):
            return state.best.value
        goal, best, left = state.goal, state.best, state.left
        frames = state.frames + state.delta  # (A, K, C, H, W)
        logits, value, whole = value_and_gradient(
            model,
            with_frames(state.x, state.places, frames),
            lambda logits: self._value(goal, logits),
        )
        gradient = frames_at(whole, state.places)  # (A, K, C, H, W)
        met, sizes = goal.is_adversarial(logits), frame_sizes(state.delta)
        rank = torch.where(met, -sizes.sum(1), value)  # of two successes the lighter is better
        best.update(frames, goal, logits=logits, value=rank, keep_first=self.early_stop)
        searching = best.finite & ~best.success & ~left
        state.stuck = state.stuck | (searching & without_slope(gradient))
        state.first = torch.where(met & (state.first == 0) & ~left, number, state.first)
        state.queries = state.queries + ~left
        slope = self._slope(met, gradient, frame_directions(state.delta, sizes)).nan_to_num_(
            0, 0, 0
        )
        state.delta.sub_(state.adam.step(slope, number=number, lr=self.lr))
        state.delta.clamp_(state.low, state.high)
        if self.early_stop:
            state.left = best.success
        return value.masked_fill(left, torch.nan)

    def _slope(self, met: Tensor, gradient: Tensor, back: Tensor) -> Tensor:
        """Return what the loss grows along, from its two parts' slopes; all (A, K, C, H, W)."""
        if self.lam is None:
            return torch.where(column(met, back), back, -gradient)
        return self.lam * GRAY_LEVELS / math.sqrt(back[0, 0].numel()) * back - gradient

    def _value(self, goal: Goal, logits: Tensor) -> Tensor:
        """Return what is raised, (B,)."""
        bounded = self.lam is not None and self.loss == "ce"
        return log_error_probability(goal, logits) if bounded else goal.objective(logits)


@dataclass
class KeyframeState:
    """How far each clip has come, a row for each in all tensors.

    Only frames that may change are worked on: of `x` (A, C, T, H, W) the `frames` (A, K, C, H, W)
    at the `places` (A, K), to which `delta` is added. `low` and `high` bound delta; both are 0
    in frames that fill up a clip with fewer than K.
    """

    goal: Goal
    best: BestByLoss
    x: Tensor
    places: Tensor
    frames: Tensor
    low: Tensor
    high: Tensor
    delta: Tensor
    adam: Adam
    first: Tensor
    queries: Tensor
    stuck: Tensor
    left: Tensor

    @classmethod
    def start(cls, threat: Threat, goal: Goal, keyframes: Tensor) -> "KeyframeState":
        """Begin beside x, in the frames of a mask (B, T)."""
        most = int(keyframes.sum(1).max())  # K
        places = keyframes.byte().argsort(dim=1, descending=True, stable=True)[:, :most]  # (B, K)
        chosen = keyframes.gather(1, places)[:, :, None, None, None]  # (B, K, 1, 1, 1)
        frames = frames_at(threat.x, places)  # (B, K, C, H, W)
        low = torch.where(chosen, (-frames).maximum(-threat.eps), 0)
        high = torch.where(chosen, (1 - frames).minimum(threat.eps), 0)
        none, no = torch.zeros_like(goal.y), torch.zeros_like(goal.y).bool()
        return cls(
            goal=goal,
            best=BestByLoss.start(frames),
            x=threat.x,
            places=places,
            frames=frames,
            low=low,
            high=high,
            delta=torch.full_like(frames, _START).clamp_(low, high),
            adam=Adam.like(frames),
            first=none,
            queries=none,
            stuck=no,
            left=no,
        )
