"""How far a perturbation made on one model fools another."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attacks.common.frozen import frozen
from attacks.common.goal import Classifier, logits_of
from attacks.universal.fitting import Loader, SampleLoader
from attacks.universal.perturbation import Perturbation


def predict_labels(model: Classifier, x: Tensor) -> Tensor:
    """Return the class (B,) that the model gives each sample of x (B, ...); -1 for NaN or inf."""
    with torch.no_grad():
        logits = logits_of(model, x)
    return logits.argmax(1).masked_fill(~torch.isfinite(logits).all(1), -1)


def transfer_matrix(
    models: Sequence[nn.Module], perturbations: Sequence[Perturbation], loader: Loader
) -> Tensor:
    """Return the fooling rate of each perturbation on each model.

    It is the share of samples whose answer the perturbation changes, or turns into its target,
    whatever their labels. Only samples that could be attacked count, see `fooled_counts`; NaN
    where there are none.

    Args:
        models: M classifiers; left exactly as they were.
        perturbations: P of them, such as one fitted on each model.
        loader: batches (x, ...), see `Fittable.fit`.

    Returns:
        (M, P) float64: a row for each model attacked, a column for each perturbation.

    Source: Moosavi-Dezfooli et al. 2017, section 3 and table 2 (there, a column is a model).
    """
    fooled, could = fooled_counts(models, perturbations, loader)
    return fooled.double() / could


def fooled_counts(
    models: Sequence[nn.Module], perturbations: Sequence[Perturbation], loader: Loader
) -> tuple[Tensor, Tensor]:
    """Return how many samples each perturbation fools on each model, and of how many.

    Those that could be fooled have a finite answer before, and not the perturbation's target. An
    answer that is not finite afterwards is not fooled. Arguments as of `transfer_matrix`.

    Returns:
        Both (M, P) int64.
    """
    rows = []
    for model in models:
        with frozen(model):
            counts = [_counted(model, perturbations, x) for x in SampleLoader.of(loader, model)]
        rows.append(torch.stack(counts).sum(0))  # (P, 2)
    fooled, could = torch.stack(rows).unbind(-1)  # (M, P) each
    return fooled, could


def _counted(model: nn.Module, perturbations: Sequence[Perturbation], x: Tensor) -> Tensor:
    """Return how many samples of x (B, ...) each perturbation fools, and could, (P, 2)."""
    before = predict_labels(model, x)  # (B,)
    counts = []
    for p in perturbations:
        could = could_be_fooled(before, p.target)
        fooled = could & is_fooled(before, predict_labels(model, p.apply(x)), p.target)
        counts.append(torch.stack([fooled.sum(), could.sum()]))
    return torch.stack(counts).cpu()


def could_be_fooled(before: Tensor, target: int | None) -> Tensor:
    """Return which answers (B,), -1 for none, are not yet what an attack wants, (B,) bool."""
    return before >= 0 if target is None else (before >= 0) & (before != target)


def is_fooled(before: Tensor, after: Tensor, target: int | None) -> Tensor:
    """Return which answers (B,), -1 for none, changed, or are the target, (B,) bool."""
    if target is not None:
        return after == target
    return (after != before) & (after >= 0) & (before >= 0)
