"""Signs that an attack may have failed for want of a gradient, not because the model is robust.

Each has a section in docs/attacks.md that says what to do.

Source: Carlini et al. 2019, section 5; Croce & Hein 2020, and the flags of AutoAttack.
"""

import torch
from torch import Tensor

from attacks.attack import lengths
from attacks.common.goal import Classifier, Goal, logit_warnings, logits_of
from attacks.common.losses import usable_loss

REPEATS = 5  # passes after the first, by which a random model is known


def is_random(
    model: Classifier, x: Tensor, *, usual: Tensor | None = None, repeats: int = REPEATS
) -> bool:
    """Return whether forward passes of the same samples x (B, ...) differ by more than rounding.

    A model that changes its input in one pass of ten gives itself away in 47 % of the calls
    with five repeats, in three of ten in 88 %; one that draws anew for each sample, more often.

    Args:
        model: the classifier, frozen.
        x: the samples.
        usual: the logits of another pass of x, (B, K), computed in the same way; None takes one.
        repeats: passes that are compared with it, at most.

    Source: AutoAttack (Croce & Hein 2020), whose check looks at five passes of the batch.
    """
    with torch.no_grad():
        usual = logits_of(model, x) if usual is None else usual
        return not all(are_alike(usual, logits_of(model, x)) for _ in range(repeats))


def are_alike(first: Tensor, second: Tensor) -> bool:
    """Return whether two answers (B, K) to the same samples differ by no more than rounding."""
    size = first.nan_to_num(0, 0, 0).abs().amax()
    return torch.allclose(first, second, rtol=0, atol=1e-4 * float(size), equal_nan=True)


def without_slope(gradient: Tensor) -> Tensor:
    """Return which samples' gradients (B, ...) point nowhere: all zero, or not finite; (B,)."""
    peak = lengths(gradient, "linf")
    return ~((peak > 0) & (peak < torch.inf))


def are_probabilities(logits: Tensor) -> Tensor:
    """Return whether every row of logits (B, K) is at least 0 and sums to 1, a bool ().

    >>> are_probabilities(torch.tensor([[0.25, 0.75], [1.0, 0.0]])).item()
    True
    """
    sums = logits.sum(1)
    return (logits >= 0).all() & ((sums - 1).abs() < 1e-2).all()


def warnings_of(
    goal: Goal,
    logits: Tensor,
    *,
    finite: Tensor,
    stuck: Tensor | None = None,
    random: bool = False,
) -> dict[str, list[str]]:
    """Return {"warnings": [...]} for `AttackResult.info`, or {} when nothing was wrong.

    Args:
        goal: what was attacked.
        logits: some answers of the model to all samples, such as the first, (B, K).
        finite: samples whose logits were always finite, bool (B,).
        stuck: samples that met `without_slope` before they were fooled, bool (B,); None for
            attacks that take no gradient.
        random: what `is_random` said.
    """
    texts = logit_warnings(finite).get("warnings", [])
    count = 0 if stuck is None else int(stuck.sum())
    if count:
        texts.append(
            f"{count} of {len(finite)} samples met a zero or non-finite gradient before they were "
            "fooled"
        )
    if bool(are_probabilities(logits)):
        texts.append("the model's outputs look like probabilities, not logits")
    if random:
        texts.append("the model is random: two forward passes of the same samples differ")
    classes = logits.shape[1]
    if usable_loss(goal.loss, classes, targeted=goal.target is not None) != goal.loss:
        texts.append(f"loss {goal.loss} on {classes} classes needs more, so the margin was taken")
    return {"warnings": texts} if texts else {}
