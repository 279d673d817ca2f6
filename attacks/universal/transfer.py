"""Transfer of universal perturbations: how often each fools each of several models."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attacks.common.frozen import frozen
from attacks.common.goal import Classifier, Goal, detached_logits
from attacks.universal.perturbation import Perturbation
from attacks.universal.sample_loader import Loader, SampleLoader


def predict_labels(model: Classifier, x: Tensor) -> Tensor:
    """Return the predicted class of each sample of x (B, ...), int64 (B,); -1 for NaN logits."""
    logits = detached_logits(model, x)
    return logits.argmax(1).masked_fill(~torch.isfinite(logits).all(1), -1)


def transfer_matrix(
    models: Sequence[nn.Module], perturbations: Sequence[Perturbation], loader: Loader
) -> Tensor:
    """Return the fooling rate of each perturbation on each model.

    The fooling rate is the share of samples whose prediction the perturbation changes, or for a
    targeted perturbation turns into its target. Labels do not count. Samples without a finite
    prediction, and those predicted as the target when clean, are left out.

    Args:
        models: M classifiers; left exactly as they were.
        perturbations: P of them, such as one fitted on each model.
        loader: batches (x, ...), see `FitByEpochs.fit`.

    Returns:
        (M, P) float64: a row for each model, a column for each perturbation; NaN where no sample
        is left.

    Source: Moosavi-Dezfooli et al. 2017, section 3 and table 2 (there, a column is a model).
    """
    fooled, attackable = fooled_counts(models, perturbations, loader)
    return fooled.double() / attackable


def fooled_counts(
    models: Sequence[nn.Module], perturbations: Sequence[Perturbation], loader: Loader
) -> tuple[Tensor, Tensor]:
    """Count the samples behind each rate of `transfer_matrix`, which documents the arguments.

    Returns:
        Fooled samples and attackable samples, both (M, P) int64. A sample whose perturbed logits
        are not finite is not fooled.
    """
    rows = []
    for model in models:
        with frozen(model):
            counts = [
                _count_fooled(model, perturbations, x) for x in SampleLoader.of(loader, model)
            ]
        rows.append(torch.stack(counts).sum(0))  # (P, 2)
    fooled, attackable = torch.stack(rows).unbind(-1)  # (M, P) each
    return fooled, attackable


def _count_fooled(model: nn.Module, perturbations: Sequence[Perturbation], x: Tensor) -> Tensor:
    """Count fooled and attackable samples of x (B, ...) for each perturbation, (P, 2)."""
    before = predict_labels(model, x)  # (B,)
    counts = []
    for p in perturbations:
        attackable = could_be_fooled(before, p.target)
        fooled = attackable & is_fooled(before, predict_labels(model, p.apply(x)), p.target)
        counts.append(torch.stack([fooled.sum(), attackable.sum()]))
    return torch.stack(counts).cpu()


def goal_from_predictions(before: Tensor, target: int | None) -> Goal:
    """Return the goal to leave the clean predictions (B,), or to reach the target.

    A prediction of -1 counts as class 0.
    """
    wanted = None if target is None else torch.full_like(before, target)
    return Goal(before.clamp_min(0), wanted)


def could_be_fooled(before: Tensor, target: int | None) -> Tensor:
    """Tell which clean predictions (B,) are a class other than the target, bool (B,)."""
    return before >= 0 if target is None else (before >= 0) & (before != target)


def is_fooled(before: Tensor, after: Tensor, target: int | None) -> Tensor:
    """Tell which predictions (B,) changed to a class, or are the target, bool (B,)."""
    if target is not None:
        return after == target
    return (after != before) & (after >= 0) & (before >= 0)
