"""Verify finished samples in full precision."""

from typing import Any

import torch
from torch import Tensor, nn

from attacks.attack import AttackResult
from attacks.common.goal import Goal, logits_of, warnings_of


def verify(
    model: nn.Module,
    x: Tensor,
    x_adv: Tensor,
    *,
    goal: Goal,
    queries: Tensor,
    random: bool,
    history: Tensor | None = None,
    stuck: Tensor | None = None,
    info: dict[str, Any] | None = None,
) -> AttackResult:
    """Evaluate x and x_adv in full precision, and build the result of an attack.

    Args:
        model: the classifier, frozen.
        x: the clean samples, (B, ...).
        x_adv: the perturbed samples, like x.
        goal: what counts as success, and the loss.
        queries: (B,) forward passes spent before this one.
        random: what `warnings.is_random` said.
        history: (steps, B) losses, or None.
        stuck: see `warnings.warnings_of`.
        info: what the attack alone reports.
    """
    with torch.no_grad():
        logits, clean = logits_of(model, x_adv), logits_of(model, x)
    finite = torch.isfinite(logits).all(1)
    value = goal.objective(logits).masked_fill(~finite, torch.nan)
    return AttackResult(
        x=x,
        x_adv=x_adv.contiguous(),
        success=goal.is_adversarial(logits),
        already=goal.is_adversarial(clean),
        queries=queries + 1,
        loss=goal.as_loss(value),
        history=history,
        info={
            **(info or {}),
            **warnings_of(goal, logits, finite=finite, stuck=stuck, random=random),
        },
    )
