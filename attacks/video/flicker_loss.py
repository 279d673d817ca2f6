"""The loss of flickering attacks, of one clip or of many."""

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from attacks.common.goal import Classifier, Goal, value_and_gradient
from attacks.common.optimizers import half_cosine
from attacks.common.options import NonNegative, Options, Positive, inside
from attacks.video.bounded_margin import Space, bounded_margin
from attacks.video.flicker_pattern import add_pattern, cost_and_slope

_LAST = 0.05  # final learning rate as a share of `lr`


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
