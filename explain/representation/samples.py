"""Representations of adversaries with their sources and guides, and of a reference set."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from explain.network.neighbours import distances

SAME = 1e-4  # of its length: no farther is a vector itself, after the rounding of another batch


@dataclass(frozen=True)
class GuidedSamples:
    """Representations phi in one layer, as vectors.

    Attributes:
        source: phi of the sources s, (N, D).
        guide: phi of the guides g, (N, D).
        adversary: phi of the adversaries x, (N, D).
        source_labels: int64 (N,).
        guide_labels: int64 (N,).
    """

    source: Tensor
    guide: Tensor
    adversary: Tensor
    source_labels: Tensor
    guide_labels: Tensor

    def __post_init__(self) -> None:
        """Raise ValueError unless all are of as many samples."""
        _check("source", self.source, "source_labels", self.source_labels)
        _check("guide", self.guide, "guide_labels", self.guide_labels)
        _check("adversary", self.adversary, "guide_labels", self.guide_labels)
        if not self.source.shape == self.guide.shape == self.adversary.shape:
            shapes = [tuple(each.shape) for each in (self.source, self.guide, self.adversary)]
            raise ValueError(
                f"source, guide and adversary have shapes {shapes}; give (N, D) of one layer"
            )


@dataclass(frozen=True)
class ReferenceSet:
    """Representations of samples that nobody attacked, such as the training samples.

    Of what is said of a class, the labels decide. With a single label for all samples the classes
    of these, and of guides and sources with that label, are the whole set.

    Attributes:
        vectors: (M, D).
        labels: int64 (M,).
    """

    vectors: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        """Raise ValueError unless there is a label for each vector."""
        _check("vectors", self.vectors, "labels", self.labels)

    def of_class(self, label: int) -> Tensor:
        """Return the vectors of a class, (M', D)."""
        return self.vectors[self.labels == label]

    def others(self, samples: GuidedSamples) -> Tensor:
        """Tell which vectors are neither a sample's source nor its guide, bool (N, M)."""
        return ~(_is(samples.source, self.vectors) | _is(samples.guide, self.vectors))


def by_class(labels: Tensor, references: ReferenceSet, value: Callable[[Tensor], Tensor]) -> Tensor:
    """Return a value () of the reference vectors (M', D) of the class of each label, (N,)."""
    found = references.vectors.new_empty(len(labels))
    for label in set(labels.tolist()):
        found[labels == label] = value(references.of_class(label))
    return found


def pairwise(vectors: Tensor) -> Tensor:
    """Return the distances between vectors (M, D), (M, M), and inf from each to itself."""
    found = distances(vectors, vectors, metric="l2")
    return found.fill_diagonal_(torch.inf)


def _is(vectors: Tensor, references: Tensor) -> Tensor:
    """Tell which references (M, D) are a vector itself, bool (N, M)."""
    reach = SAME * torch.linalg.vector_norm(vectors, dim=1, keepdim=True)  # (N, 1)
    return torch.le(distances(vectors, references, metric="l2"), reach)


def _check(name: str, vectors: Tensor, labels_name: str, labels: Tensor) -> None:
    """Raise ValueError unless vectors (N, D) are finite and have labels (N,)."""
    if vectors.ndim != 2 or labels.shape != vectors.shape[:1]:
        raise ValueError(
            f"{name} and {labels_name} have shapes {tuple(vectors.shape)} and "
            f"{tuple(labels.shape)}; give vectors (N, D) and labels (N,), of outputs (N, C, H, W) "
            "output.flatten(1)"
        )
    if not bool(torch.isfinite(vectors).all()):
        raise ValueError(f"{name} holds NaN or inf; leave out those of broken samples")
