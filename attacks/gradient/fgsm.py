"""The fast gradient sign method."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from attacks.attack import AttackResult, Norm, Progress
from attacks.common.begin import begin
from attacks.common.forward import TRIED, is_random
from attacks.common.goal import (
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
class FGSM:
    """One step of length eps along the gradient.

    For linf along its sign, for l2 along its direction, for l1 along its largest entries.

    Args:
        norm: "linf", "l2" or "l1".
        eps: length of the step in pixel units, a number or one a sample (B,).
        loss: "ce", "margin" or "dlr".

    Source: Goodfellow et al. 2015, section 4.
    """

    norm: Norm = "linf"
    eps: float | Tensor = 8 / 255
    loss: LossName = "ce"

    def __post_init__(self) -> None:
        """Refuse impossible options at once."""
        check_kinds(self)
        check_norm(self.norm)
        check_radius(self.norm, self.eps)
        check_loss(self.loss)

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
        """Perturb x by one gradient step; see `Attack.__call__`. Nothing here is random."""
        with begin(
            model, x, y, target=target, seed=seed, sample_ids=sample_ids, progress=progress
        ) as call:
            x, goal = call.x, Goal(call.y, call.target, self.loss)
            threat = Threat.around(x, norm=self.norm, eps=self.eps)
            clean, before, gradient = value_and_gradient(model, x, goal.objective)
            x_adv = threat.project(x + threat.ascent(gradient, length=threat.eps))
            with torch.no_grad():
                logits = logits_of(model, x_adv)
            finite = torch.isfinite(logits).all(1)
            value = goal.objective(logits).masked_fill(~finite, torch.nan)
            # Of two passes nothing makes up for a look at what would make them quicker.
            random = is_random(
                model, x[:TRIED], usual=clean if len(x) <= TRIED else None, repeats=1
            )
            call.progress(1, 1)
        return AttackResult(
            x=x,
            x_adv=x_adv,
            success=goal.is_adversarial(logits),
            already=goal.is_adversarial(clean),
            queries=torch.full_like(goal.y, 2),
            loss=goal.as_loss(value),
            history=goal.as_loss(before)[None],  # (1, B)
            info=warnings_of(
                goal,
                clean,
                finite=finite,
                stuck=without_slope(gradient) & finite & ~goal.is_adversarial(clean),
                random=random,
            ),
        )
