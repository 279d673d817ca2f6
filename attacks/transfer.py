"""How far a perturbation made on one model fools another."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attacks.fitting import Loader, Samples
from attacks.goal import Classifier, logits_of
from attacks.guard import frozen
from attacks.perturbation import Perturbation


def answers(model: Classifier, x: Tensor) -> Tensor:
    """Return the class (B,) that the model gives each sample of x (B, ...); -1 for NaN or inf."""
    with torch.no_grad():
        logits = logits_of(model, x)
    return logits.argmax(1).masked_fill(~torch.isfinite(logits).all(1), -1)


def transfer_matrix(
    models: Sequence[nn.Module], perturbations: Sequence[Perturbation], loader: Loader
) -> Tensor:
    """Return the fooling rate of each perturbation on each model.

    It is the share of samples whose answer the perturbation changes, whatever their labels. An
    answer that is not finite is not fooled.

    Args:
        models: M classifiers; left exactly as they were.
        perturbations: P of them, such as one fitted on each model.
        loader: batches (x, ...), see `Fittable.fit`.

    Returns:
        (M, P) float64: a row for each model attacked, a column for each perturbation.

    Source: Moosavi-Dezfooli et al. 2017, section 3 and table 2 (there, a column is a model).
    """
    rows = []
    for model in models:
        with frozen(model):
            batches = [_changed(model, perturbations, x) for x in Samples.of(loader, model)]
        rows.append(torch.cat(batches, 1).double().mean(1))  # (P,)
    return torch.stack(rows)  # (M, P)


def _changed(model: nn.Module, perturbations: Sequence[Perturbation], x: Tensor) -> Tensor:
    """Return which samples of x (B, ...) each perturbation fools, (P, B) bool on the CPU."""
    before = answers(model, x)  # (B,)
    after = torch.stack([answers(model, p.apply(x)) for p in perturbations])  # (P, B)
    return ((after != before) & (after >= 0) & (before >= 0)).cpu()
