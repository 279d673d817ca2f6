"""The Square Attack on the few frames of a video that a handful of queries points out."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attacks.attack import AttackResult, Norm
from attacks.black_box.square import Square, SquareRun, SquareState
from attacks.common.active_set import index_rows
from attacks.common.batch_attack import BatchAttack, Call
from attacks.common.goal import Classifier, Goal, LossName, detached_logits
from attacks.common.options import Count, Share
from attacks.common.threat import Threat
from attacks.video.keyframes import check_count, select_by_share, select_heaviest


@dataclass(frozen=True)
class KeyframeSquare(BatchAttack):
    """Choose frames by queries, change random squares in them, and restore unneeded frames.

    The weight of a frame is the change of the loss when the mean of all frames replaces it. The
    linf search of `square` runs on the fewest frames with a share `b` of the weights, and places
    each square in all of them. In a fooled clip, the frames are then restored one by one, the
    lightest first, as long as the clip stays fooled.

    The result's `info` holds "weights" (B, T); "keyframes" (B, T), the frames that differ from
    the clean ones; and "queries_to_success" (B,), `queries` without those that restored frames,
    0 without success.

    Args:
        eps: radius in linf, in pixel units, a number or (B,).
        queries: largest number of queries of the search. One query for each frame and one more
            come before it, and at most one for each chosen frame but one after it.
        b: share of the weights, in (0, 1]; None uses `count`, or takes 0.5.
        count: number of frames; None uses `b`.
        p_init: share of the frame that the first squares cover, in (0, 1].
        loss: "ce", "margin" or "dlr".

    Source: Wei et al. 2020 (heuristic temporal selection), there with another search;
    Andriushchenko et al. 2020, algorithms 1 and 2.
    """

    eps: float | Tensor = 8 / 255
    queries: Count = 1000
    b: Share | None = None
    count: Count | None = None
    p_init: Share = 0.8
    loss: LossName = "margin"

    needs_videos: ClassVar[bool] = True
    norm: ClassVar[Norm] = "linf"

    def __post_init__(self) -> None:
        """Raise ValueError for impossible options."""
        super().__post_init__()
        if self.count is not None and self.b is not None:
            raise ValueError(f"count is {self.count}, b is {self.b}; give one of them")

    def perturb(self, call: Call) -> AttackResult:
        """Choose frames, search in them, and restore those that are not needed."""
        x, forward, goal = call.x, call.forward, Goal(call.y, call.target, self.loss)
        square = Square("linf", self.eps, self.queries, self.p_init, loss=self.loss)
        threat = Threat.around(x, norm="linf", eps=self.eps)
        clean = detached_logits(forward, x)
        weights = frame_effects(forward, x, goal, clean=clean)
        mask = self._choose(weights)
        pixels = mask[:, None, :, None, None]  # (B, 1, T, 1, 1)
        search = SquareRun(call, square, goal, threat, pixels)
        state, history = search.run()
        searched = state.queries + 1 + x.shape[2]
        changed, spent = _restore_frames(forward, state, weights, mask)
        state.queries = searched + spent
        return state.result(
            call,
            already=goal.is_adversarial(clean),
            logits=search.logits,
            random=call.random,
            history=history,
            info={
                "weights": weights,
                "keyframes": changed,
                "queries_to_success": torch.where(state.best.success, searched, 0),
            },
        )

    def _choose(self, weights: Tensor) -> Tensor:
        """Return the frames that may change, bool (B, T), by their weights (B, T)."""
        if self.count is None:
            return select_by_share(weights, self.b or 0.5)
        return select_heaviest(weights, check_count(self.count, weights.shape[1], targeted=False))


def frame_effects(model: Classifier, x: Tensor, goal: Goal, *, clean: Tensor) -> Tensor:
    """Return the change of the loss when the mean of all frames replaces a frame, (B, T).

    Args:
        model: the classifier, queried T times.
        x: clips (B, C, T, H, W) in [0, 1].
        goal: labels or targets, and the loss.
        clean: logits of x, (B, K).

    Returns:
        Absolute changes, (B, T); 0 where a loss is not finite.
    """
    mean, values = x.mean(2), []
    for frame in range(x.shape[2]):
        without = x.clone()
        without[:, :, frame] = mean
        values.append(goal.objective(detached_logits(model, without)))
    change = torch.stack(values, 1) - goal.objective(clean)[:, None]  # (B, T)
    return change.abs().nan_to_num(0, 0, 0)


def _restore_frames(
    model: Classifier, state: SquareState, weights: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor]:
    """Restore the frames of fooled clips, the lightest first, where they stay fooled.

    Returns:
        The frames that remain changed, bool (B, T), and queries spent, int64 (B,).
    """
    best, x = state.best, state.threat.x
    mask, spent = mask.clone(), torch.zeros_like(state.queries)
    order = weights.masked_fill(~mask, torch.inf).argsort(dim=1, stable=True)  # (B, T)
    for frame in order.unbind(1):  # (B,)
        chosen = mask.gather(1, frame[:, None])[:, 0]
        rows = (best.success & chosen & (mask.sum(1) > 1)).nonzero()[:, 0]  # (A,)
        if not len(rows):
            continue
        trial, place = best.x_adv[rows], (torch.arange(len(rows)), slice(None), frame[rows])
        trial[place] = x[rows][place]
        goal = index_rows(state.goal, rows)
        logits = detached_logits(model, trial)
        met = goal.is_adversarial(logits)
        won = rows[met]
        best.x_adv[won], best.value[won] = trial[met], goal.objective(logits)[met]
        mask[won, frame[won]] = False
        spent[rows] += 1
    return mask, spent
