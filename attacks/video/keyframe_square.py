"""The Square Attack on the few frames of a video that a handful of queries points out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from attacks.attack import AttackResult, Norm, Progress
from attacks.black_box.square import Square, SquareRun, SquareState
from attacks.common.active_set import index_rows
from attacks.common.begin import check_call, check_clips, clone_inputs
from attacks.common.forward import wrap_forward
from attacks.common.frozen import frozen
from attacks.common.goal import Classifier, Goal, LossName, check_loss, logits_of, warnings_of
from attacks.common.options import check_kinds
from attacks.common.randomness import sample_generators
from attacks.common.threat import Threat
from attacks.video.keyframes import check_boundary, check_count, heaviest, reaching


@dataclass(frozen=True)
class KeyframeSquare:
    """Look which frames matter, change random squares in these alone, and give back spare ones.

    A frame matters as much as the loss changes when the mean of all frames takes its place. On the
    fewest frames with a share `b` of these changes the linf search of `square` runs; all of them
    share the squares. Of a clip that it fools, the frames then go back to the clean ones one by
    one, the least important first, where that leaves it fooled.

    Args:
        eps: radius in linf, in pixel units, a number or one a clip (B,).
        queries: passes of the search on each clip at most. One for each frame and one more come
            before, and one at most for each chosen frame but one after.
        b: share in (0, 1]; None goes by `count`, or takes 0.5.
        count: how many frames; None goes by `b`.
        p_init: share of the frame that the first squares cover, in (0, 1].
        loss: "ce", "margin" or "dlr".

    Source: Wei et al. 2020 (heuristic temporal selection), there with another search;
    Andriushchenko et al. 2020, algorithms 1 and 2.
    """

    eps: float | Tensor = 8 / 255
    queries: int = 1000
    b: float | None = None
    count: int | None = None
    p_init: float = 0.8
    loss: LossName = "margin"

    needs_videos: ClassVar[bool] = True
    norm: ClassVar[Norm] = "linf"

    def __post_init__(self) -> None:
        """Refuse impossible options at once."""
        check_kinds(self)
        check_loss(self.loss)
        check_boundary(self.b)
        if self.count is not None and (self.count < 1 or self.b is not None):
            raise ValueError(f"count is {self.count}, b is {self.b}; give one, count at least 1")
        self._square()

    def _square(self) -> Square:
        """Return the options of the search."""
        return Square("linf", self.eps, self.queries, self.p_init, loss=self.loss)

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
        """Perturb some frames of x within the ball; see `Attack.__call__`.

        Returns:
            The result. `info` holds "weights" (B, T), by how much each frame changes the loss;
            "keyframes" (B, T), the frames that are not the clean ones; and
            "queries_to_success" (B,), 0 where there was none: `queries` without those that
            gave frames back.

        Raises:
            ValueError: for images, or more frames than there are.
        """
        check_call(model, x, y, target=target, seed=seed, sample_ids=sample_ids, progress=progress)
        check_clips(x)
        generators = sample_generators(x, seed=seed, sample_ids=sample_ids)
        with frozen(model), torch.no_grad():
            x, y, target = clone_inputs(model, x, y, target)
            threat, goal = Threat.around(x, norm="linf", eps=self.eps), Goal(y, target, self.loss)
            forward, random = wrap_forward(model, x)
            clean = logits_of(forward, x)
            weights = frame_effects(forward, x, goal, clean=clean)
            mask = self._chosen(weights)
            here = mask[:, None, :, None, None]  # (B, 1, T, 1, 1)
            search = SquareRun(forward, self._square(), goal, threat, generators, mask=here)
            state, history = search.run(progress)
            searched = state.queries + 1 + x.shape[2]
            left, spent = _restored(forward, state, weights, mask)
            best, already = state.best, goal.is_adversarial(clean)
        return AttackResult(
            x=x,
            x_adv=best.x_adv,
            success=best.success,
            already=already,
            queries=searched + spent,
            loss=goal.as_loss(best.value),
            history=goal.as_loss(history),
            info={
                "weights": weights,
                "keyframes": left,
                "queries_to_success": torch.where(best.success, searched, 0),
                **warnings_of(goal, search.logits, finite=best.finite, random=random),
            },
        )

    def _chosen(self, weights: Tensor) -> Tensor:
        """Return the frames to change, bool (B, T)."""
        if self.count is None:
            return reaching(weights, self.b or 0.5)
        return heaviest(weights, check_count(self.count, weights.shape[1], targeted=False))


def frame_effects(model: Classifier, x: Tensor, goal: Goal, *, clean: Tensor) -> Tensor:
    """Return by how much the loss changes without each frame of x (B, C, T, H, W), (B, T).

    The mean of all frames takes its place. It takes T passes beside that of the clean logits
    (B, K); 0 where one is not finite.
    """
    mean, values = x.mean(2), []
    for frame in range(x.shape[2]):
        without = x.clone()
        without[:, :, frame] = mean
        values.append(goal.objective(logits_of(model, without)))
    return (
        (torch.stack(values, 1) - goal.objective(clean)[:, None]).abs().nan_to_num(0, 0, 0)
    )  # (B, T)


def _restored(
    model: Classifier, state: SquareState, weights: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor]:
    """Give fooled clips clean frames back, the least important first, while they stay fooled.

    Returns:
        The frames that stay changed, bool (B, T), and passes spent, int64 (B,).
    """
    best, x = state.best, state.threat.x
    mask, spent = mask.clone(), torch.zeros_like(state.queries)
    order = weights.masked_fill(~mask, torch.inf).argsort(dim=1, stable=True)  # (B, T)
    for frame in order.unbind(1):  # (B,)
        chosen = mask.gather(1, frame[:, None])[:, 0]
        rows = (best.success & chosen & (mask.sum(1) > 1)).nonzero()[:, 0]  # (A,)
        if not len(rows):
            continue
        trial, here = best.x_adv[rows], (torch.arange(len(rows)), slice(None), frame[rows])
        trial[here] = x[rows][here]
        goal = index_rows(state.goal, rows)
        logits = logits_of(model, trial)
        met, won = goal.is_adversarial(logits), rows[goal.is_adversarial(logits)]
        best.x_adv[won], best.value[won] = trial[met], goal.objective(logits)[met]
        mask[won, frame[won]] = False
        spent[rows] += 1
    return mask, spent
