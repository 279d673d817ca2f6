"""How near an adversary is to its guide, and how far from its source, in units of their classes."""

import torch
from torch import Tensor

from explain.representation.samples import GuidedSamples, ReferenceSet, by_class, pairwise


def distance_ratios(samples: GuidedSamples, references: ReferenceSet) -> dict[str, Tensor]:
    """Compute the three Euclidean ratios of each sample.

    Args:
        samples: N of them.
        references: what is typical of a class.

    Returns:
        Columns (N,): "guide_ratio" is d(x, g) / d(s, g); "source_ratio" is d(x, s) over the mean
        distance between pairs of the source's class; "nearest_ratio" is d(x, g) over the mean
        distance of a member of the guide's class to its nearest one. NaN where a class has fewer
        than two members.

    Source: Sabour et al. 2016.
    """
    to_guide = (samples.adversary - samples.guide).norm(dim=1)  # (N,)
    to_source = (samples.adversary - samples.source).norm(dim=1)
    within = by_class(samples.source_labels, references, mean_pair_distance)
    nearest = by_class(samples.guide_labels, references, mean_nearest_distance)
    return {
        "guide_ratio": to_guide / (samples.source - samples.guide).norm(dim=1),
        "source_ratio": to_source / within,
        "nearest_ratio": to_guide / nearest,
    }


def mean_pair_distance(vectors: Tensor) -> Tensor:
    """Return the mean distance between two different vectors of (M, D), (); NaN of fewer than two.

    >>> mean_pair_distance(torch.tensor([[0.0], [1.0], [2.0]]))
    tensor(1.3333)
    """
    found = pairwise(vectors)
    return found[found.isfinite()].mean()


def mean_nearest_distance(vectors: Tensor) -> Tensor:
    """Return the mean distance of vectors (M, D) to their nearest, (); NaN of fewer than two.

    >>> mean_nearest_distance(torch.tensor([[0.0], [1.0], [4.0]]))
    tensor(1.6667)
    """
    if len(vectors) < 2:
        return vectors.new_tensor(torch.nan)
    return pairwise(vectors).amin(1).mean()
