"""The bounded margin loss: it asks for a lead, and for no more than that."""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from attacks.common.goal import Goal
from attacks.common.goal import margin as lead_of_others

Space = Literal["prob", "logit"]
_LEAST = 1e-5  # probability that the logits' margin is taken at; below, it would grow without end


def check_space(space: str) -> None:
    """Raise ValueError unless `space` is one of Space."""
    if space not in get_args(Space):
        raise ValueError(f"space is {space!r}; allowed: {', '.join(get_args(Space))}")


def bounded_margin(logits: Tensor, goal: Goal, *, space: Space, margin: float) -> Tensor:
    """Return how much of the wanted lead is missing, (B,) >= 0: to be lowered.

    With l the lead of the class to be lowered over the class to be raised, plus the margin m,
    it is max(0, min(l**2 / m, l)): nothing where the lead has been turned round by m or more,
    a parabola from there to the boundary, a line before it. The two classes are y and the best
    other one or, with a target, the best other one and the target.

    Args:
        logits: (B, K).
        goal: the label, or the target.
        space: "prob" takes leads between softmax scores; "logit" between logits, and then m is
            log((q + m) / q), q the score of the class to be lowered, which is held constant.
        margin: the wanted lead in scores, above 0.

    Source: Naeh et al. 2020, eq. (3) and (4).

    >>> even = torch.zeros(1, 2)
    >>> bounded_margin(even, Goal(torch.tensor([0])), space="prob", margin=0.05)
    tensor([0.0500])
    """
    goal.check_classes(logits)
    named = goal.y if goal.target is None else goal.target
    scores = logits.softmax(1)
    gap = lead_of_others(scores if space == "prob" else logits, named)
    missing = -gap if goal.target is None else gap
    if space == "prob":
        wanted = torch.full_like(missing, margin)
    else:
        wanted = torch.log1p(margin / _to_lower(scores.detach(), goal).clamp_min(_LEAST))
    short = missing + wanted
    return torch.minimum(short.square() / wanted, short).clamp_min(0)


def _to_lower(scores: Tensor, goal: Goal) -> Tensor:
    """Return the score (B,) of the class that stands in the goal's way."""
    if goal.target is None:
        return scores.gather(1, goal.y[:, None]).squeeze(1)
    own = F.one_hot(goal.target, scores.shape[1]).bool()
    return scores.masked_fill(own, -torch.inf).amax(1)
