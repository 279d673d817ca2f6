"""A support vector machine with an RBF kernel: fitted by scikit-learn, evaluated in torch."""

from typing import NamedTuple

import torch
from torch import Tensor


class SupportVectors(NamedTuple):
    """A fitted machine.

    Attributes:
        vectors: (S, D).
        weights: of each, signed, (S,).
        intercept: added to their sum, ().
        gamma: of the kernel exp(-gamma * |a - b|^2), ().
    """

    vectors: Tensor
    weights: Tensor
    intercept: Tensor
    gamma: Tensor


def fit_svm(points: Tensor, positive: Tensor, *, c: float) -> SupportVectors:
    """Fit a machine whose decision is above 0 on positive points; both kinds weigh the same.

    Args:
        points: (N, D).
        positive: (N,) bool, some of them true and some not.
        c: the cost of errors; gamma is 1 / (D * variance), scikit-learn's "scale".

    Source: Cortes & Vapnik 1995.
    """
    from sklearn.svm import SVC  # takes a second

    machine = SVC(C=c, kernel="rbf", gamma="scale", class_weight="balanced")
    machine.fit(points.double().cpu().numpy(), positive.cpu().numpy())
    return SupportVectors(
        torch.from_numpy(machine.support_vectors_).float(),
        torch.from_numpy(machine.dual_coef_[0]).float(),
        torch.tensor(float(machine.intercept_[0])),
        torch.tensor(float(machine._gamma)),
    )


def decision(machine: SupportVectors, points: Tensor) -> Tensor:
    """Return the decision function at points (B, D), (B,); differentiable."""
    vectors = machine.vectors
    squares = (points**2).sum(1, keepdim=True) - 2 * points @ vectors.T + (vectors**2).sum(1)
    kernel = torch.exp(-machine.gamma * squares.clamp_min(0))  # (B, S)
    return kernel @ machine.weights + machine.intercept
