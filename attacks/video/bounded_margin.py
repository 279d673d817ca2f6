"""The bounded margin loss: zero once the wrong class leads by a margin."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from attacks.common.goal import Goal
from attacks.common.goal import margin as logit_margin

Space = Literal["prob", "logit"]
_LEAST = 1e-5  # smallest score q in the margin of logits, which grows without bound as q falls


def bounded_margin(logits: Tensor, goal: Goal, *, space: Space, margin: float) -> Tensor:
    """Return the bounded margin loss max(0, min(l**2 / m, l)), (B,).

    l is the score of the class to lower, minus that of the class to raise, plus the margin m. The
    loss is linear before the decision boundary, a parabola from the boundary on, and zero once
    the class to raise leads by m. Without a target, y is lowered and the highest other class
    raised; with a target, the highest other class is lowered and the target raised.

    Args:
        logits: (B, K).
        goal: labels, or targets.
        space: "prob" compares softmax scores. "logit" compares logits, with the margin
            log((q + m) / q), where q is the softmax score of the class to lower, a constant.
        margin: m, above 0, in softmax scores.

    Source: Naeh et al. 2020, eq. (3) and (4).

    >>> even = torch.zeros(1, 2)
    >>> bounded_margin(even, Goal(torch.tensor([0])), space="prob", margin=0.05)
    tensor([0.0500])
    """
    goal.check_classes(logits)
    named = goal.y if goal.target is None else goal.target
    scores = logits.softmax(1)
    gap = logit_margin(scores if space == "prob" else logits, named)
    missing = -gap if goal.target is None else gap
    if space == "prob":
        wanted = torch.full_like(missing, margin)
    else:
        wanted = torch.log1p(margin / _to_lower(scores.detach(), goal).clamp_min(_LEAST))
    short = missing + wanted
    return torch.minimum(short.square() / wanted, short).clamp_min(0)


def _to_lower(scores: Tensor, goal: Goal) -> Tensor:
    """Return the score (B,) of the class to lower."""
    if goal.target is None:
        return scores.gather(1, goal.y[:, None]).squeeze(1)
    own = F.one_hot(goal.target, scores.shape[1]).bool()
    return scores.masked_fill(own, -torch.inf).amax(1)
