"""An attack that knows the detector."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from attacks import Attack, AttackResult
from attacks.attack import Progress
from attacks.common.frozen import frozen
from attacks.common.goal import detached_logits, likeliest_wrong
from attacks.common.options import Count, Options
from attacks.common.threat import column


@dataclass(frozen=True)
class Evasion(Options):
    """Drive each sample to a wrong class that a `RejectingClassifier` accepts.

    The attack goes to the likeliest wrong classes in turn; to be refused is no success. Its loss
    is the classifier's and the detector's together, as the logit of refusal is one of the logits.

    Args:
        attack: one that takes a target.
        classes: how many wrong classes are tried.

    Source: Carlini & Wagner 2017 (Adversarial Examples Are Not Easily Detected), section 3.
    """

    attack: Attack
    classes: Count = 3

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
        """Attack samples; the arguments are those of `Attack`, and model is such a classifier.

        Raises:
            ValueError: for a target, or without labels.
        """
        if target is not None or y is None:
            raise ValueError("an evasion goes to any wrong class: give labels y, and no target")
        with frozen(model):
            logits = detached_logits(model, x)  # (B, K + 1)
        refused = logits.argmax(1) == logits.shape[1] - 1
        wrong = likeliest_wrong(logits[:, :-1], y, self.classes)  # (B, n)
        results = [
            self.attack(model, x, y, target=t, seed=seed, sample_ids=sample_ids, progress=progress)
            for t in wrong.unbind(1)
        ]
        best = results[0]
        for other in results[1:]:
            best = choose(best, other, other.success & ~best.success)
        already = (logits.argmax(1) != y) & ~refused
        queries = 1 + torch.stack([result.queries for result in results]).sum(0)  # (B,)
        return replace(best, already=already, queries=queries)


def choose(first: AttackResult, second: AttackResult, where: Tensor) -> AttackResult:
    """Return a result with samples of the second where told, bool (B,), else those of the first.

    What is not a row for each sample is the first's.
    """
    x_adv = torch.where(column(where, first.x_adv), second.x_adv, first.x_adv)
    success = torch.where(where, second.success, first.success)
    loss = torch.where(where, second.loss, first.loss)
    return replace(first, x_adv=x_adv, success=success, loss=loss, history=None)
