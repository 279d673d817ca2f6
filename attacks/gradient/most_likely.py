"""The step towards the most confident class."""

from dataclasses import dataclass

from torch import Tensor

from attacks.common.goal import Classifier, Goal, detached_logits
from attacks.gradient.projected_ascent import ProjectedAscent


@dataclass(frozen=True)
class MostLikely(ProjectedAscent):
    """Steps that raise the score of the class the model is most confident of, from x itself.

    On a sample the model gets right this attacks nothing: it shows what the model would like to
    see more of. Success is still that the label changed, so that only samples that were wrong
    from the start have it. `info["target"]` holds the class. A target given takes its place,
    and has to be reached.

    """

    def _goal(self, model: Classifier, x: Tensor, y: Tensor, target: Tensor | None) -> Goal:
        """Target the most likely class of each sample."""
        if target is not None:
            return Goal(y, target, self.loss)
        logits = detached_logits(model, x)
        return Goal(y, logits.argmax(1), self.loss, any_class=True)
