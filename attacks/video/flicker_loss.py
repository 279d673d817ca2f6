"""The loss of flickering attacks: the visibility of a pattern, and the bounded margin loss."""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from attacks.common.goal import Classifier, Goal, value_and_gradient
from attacks.common.goal import margin as logit_margin
from attacks.common.optimizers import half_cosine
from attacks.common.options import NonNegative, Options, Positive, inside

Space = Literal["prob", "logit"]
_LAST = 0.05  # final learning rate as a share of `lr`
_LEAST = 1e-5  # smallest score q in the margin of logits, which grows without bound as q falls
# Width of the paper's pixel range [-1, 1] over the width of ours: the weights of D1 and D2 apply to
# the paper's units.
SPAN = 2.0


@dataclass(frozen=True)
class FlickerLoss(Options):
    """The weighted visibility of a pattern, plus the bounded margin loss of the perturbed clip.

    The loss is lam * (beta1 * D1 + beta2 * D2) + L: `cost_and_slope` defines D1 and D2,
    `bounded_margin` L. D1 and D2 are computed in the paper's units, twice ours, so that the
    weights have the paper's meaning.

    Args:
        lr: Adam's initial learning rate, in pixel units, decayed along a half cosine. The paper's
            is constant, 1e-3 of the range [-1, 1], which is 5e-4 here.
        lam: weight of the visibility.
        beta1: weight of the thickness D1, a mean square.
        beta2: weight of the roughness D2, of first and second differences between frames.
        margin: wanted lead of another class, or of the target, in softmax scores.
        space: "prob" or "logit", see `bounded_margin`.

    Source: Naeh et al. 2020, eq. (1).
    """

    lr: Positive = 5e-3
    lam: NonNegative = 1.0
    beta1: NonNegative = 0.5
    beta2: NonNegative = 0.5
    margin: Annotated[float, inside(0, 1)] = 0.05
    space: Space = "logit"

    def rate(self, share: float) -> float:
        """Return the learning rate after a share, in [0, 1), of all steps."""
        return self.lr * (_LAST + (1 - _LAST) * half_cosine(share))

    def margin_and_gradient(
        self, model: Classifier, x: Tensor, pattern: Tensor, goal: Goal
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Evaluate the bounded margin loss of clips with a pattern added.

        Args:
            model: the classifier.
            x: clips (B, C, T, H, W) in [0, 1].
            pattern: (B, C, T, 1, 1), or (1, C, T, 1, 1) for all clips.
            goal: labels, or targets.

        Returns:
            Logits (B, K), loss (B,), and the loss's gradient in the pattern, (B, C, T, 1, 1).
        """
        x_adv, pass_mask = add_pattern(x, pattern)

        def loss(logits: Tensor) -> Tensor:
            return bounded_margin(logits, goal, space=self.space, margin=self.margin)

        logits, value, gradient = value_and_gradient(model, x_adv, loss)
        return logits, value, gradient.mul_(pass_mask).sum((3, 4), keepdim=True)

    def visibility_and_gradient(self, pattern: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weighted visibility of patterns (B, C, T, 1, 1), (B,), and its gradient."""
        cost, slope = cost_and_slope(pattern, beta1=self.beta1, beta2=self.beta2)
        return self.lam * cost, self.lam * slope


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


def add_pattern(x: Tensor, pattern: Tensor) -> tuple[Tensor, Tensor]:
    """Add patterns to clips, clamp to [0, 1], and mask the pixels that pass a gradient on.

    A pixel passes the gradient on unless the clamp changes it. One that lands on 0 or 1 exactly
    passes it on too: torch's clamp would stop it there, and a black pixel would never change.

    Args:
        x: clips (B, C, T, H, W) in [0, 1].
        pattern: (B, C, T, 1, 1), or (1, C, T, 1, 1) for all clips.

    Returns:
        Clips like x in [0, 1], and the mask, bool like x.
    """
    moved = x + pattern
    x_adv = moved.clamp(0, 1)
    return x_adv, moved == x_adv


def shift_pattern(pattern: Tensor, shifts: Tensor) -> Tensor:
    """Shift patterns in time, cyclically.

    Args:
        pattern: (B, C, T, 1, 1), or (1, C, T, 1, 1) for all shifts.
        shifts: number of frames, int64 (B,); positive shifts to later frames.

    Returns:
        The shifted patterns, (B, C, T, 1, 1).

    >>> shift_pattern(torch.arange(3.0).reshape(1, 1, 3, 1, 1), torch.tensor([1])).flatten()
    tensor([2., 0., 1.])
    """
    channels, frames = pattern.shape[1:3]
    places = (torch.arange(frames, device=shifts.device) - shifts[:, None]) % frames  # (B, T)
    index = places[:, None, :, None, None].expand(-1, channels, -1, 1, 1)  # (B, C, T, 1, 1)
    return pattern.expand(len(shifts), -1, -1, -1, -1).gather(2, index)


def cost_and_slope(pattern: Tensor, *, beta1: float, beta2: float) -> tuple[Tensor, Tensor]:
    """Return beta1 * D1 + beta2 * D2 of each pattern, and its gradient.

    D1, the thickness, is the mean square of the values. D2, the roughness, is the mean square of
    the first differences between frames plus that of the second ones; the first frame follows the
    last.

    Args:
        pattern: (B, C, T, 1, 1) in pixel units.
        beta1: weight of the thickness.
        beta2: weight of the roughness.

    Returns:
        The cost (B,), and its gradient, like the pattern.

    Source: Naeh et al. 2020, section 3; D2 is eq. (5).
    """
    # Both are quadratic forms <p, A p>: A of the first differences is -L, of the second L L.
    curved = _curvature(pattern)
    half = beta1 * pattern + beta2 * (_curvature(curved) - curved)
    half = half * (SPAN**2 / pattern[0].numel())
    return (pattern * half).flatten(1).sum(1), 2 * half


def _curvature(pattern: Tensor) -> Tensor:
    """Return the second difference at each frame, like the pattern (B, C, T, 1, 1)."""
    return pattern.roll(1, 2) + pattern.roll(-1, 2) - 2 * pattern


def thickness(delta: Tensor) -> Tensor:
    """Return the mean absolute value of changes (B, C, T, ...), in % of full scale, (B,).

    >>> thickness(torch.full((1, 3, 4, 1, 1), -0.25))
    tensor([25.])
    """
    return 100 * delta.abs().flatten(1).mean(1)


def roughness(delta: Tensor) -> Tensor:
    """Return the mean absolute difference of changes (B, C, T, ...) between frames, in %, (B,).

    The first frame follows the last. The paper's formula squares the difference; its reported
    values, in percent, do not.
    """
    return thickness(delta.roll(1, 2) - delta)


def visibility(pattern: Tensor, delta: Tensor) -> dict[str, Tensor]:
    """Return thickness and roughness of patterns and of clipped perturbations, all (B,) in %.

    Args:
        pattern: (B, C, T, 1, 1).
        delta: x_adv - x, (B, C, T, H, W).
    """
    return {
        "thickness": thickness(pattern),
        "roughness": roughness(pattern),
        "thickness_clipped": thickness(delta),
        "roughness_clipped": roughness(delta),
    }
