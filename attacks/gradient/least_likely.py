"""The least-likely class method."""

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.common.goal import Classifier, Goal, detached_logits
from attacks.gradient.projected_ascent import ProjectedAscent


@dataclass(frozen=True)
class LeastLikely(ProjectedAscent):
    """Steps towards the class with the smallest clean score, from x itself.

    With steps=1 it is the one-step method. Without a target given, success is that the label
    changed, as the papers count it; `info["target"]` holds the class that was pursued, never
    the label's own. A target given takes the place of that class, and has to be reached.

    Source: Kurakin et al. 2017, "Adversarial examples in the physical world", section 2.3
    (iterative); "Adversarial machine learning at scale", section 2 (one-step).
    """

    def _goal(self, model: Classifier, x: Tensor, y: Tensor, target: Tensor | None) -> Goal:
        """Target the least likely class of each sample."""
        if target is not None:
            return Goal(y, target, self.loss)
        logits = detached_logits(model, x)
        Goal(y).check_classes(logits)
        lowest = logits.scatter(1, y[:, None], torch.inf).argmin(1)  # (B,)
        return Goal(y, lowest, self.loss, any_class=True)
