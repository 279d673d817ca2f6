"""How far inside of a class a representation lies, and which neighbours it has."""

import torch
from torch import Tensor

from explain.network.neighbours import distances
from explain.representation.samples import GuidedSamples, ReferenceSet, pairwise


def rank_changes(
    samples: GuidedSamples, references: ReferenceSet, *, k: int = 3
) -> dict[str, Tensor]:
    """Rank adversaries and guides among the points of the guide's class.

    A point is ranked by its mean distance to its k nearest neighbours within the class: its rank
    is the share of the class's own points for which that distance is smaller, 0 for the innermost.
    A sample's source and guide, where the reference set has them, do not count.

    Args:
        samples: N of them.
        references: where the classes are taken from.
        k: neighbours.

    Returns:
        Columns (N,): "rank_guide", "rank_adversary", and "rank_change", the latter less the
        former. NaN where a class has no more than k members.

    Source: Sabour et al. 2016 (their rank and its change with K = 3).
    """
    counted = references.others(samples)  # (N, M)
    ranks = references.vectors.new_empty(2, len(samples.guide))
    for label in set(samples.guide_labels.tolist()):
        rows, columns = samples.guide_labels == label, references.labels == label
        pair = torch.stack([samples.guide[rows], samples.adversary[rows]])  # (2, N', D)
        allowed = counted[rows][:, columns].repeat(2, 1)  # (2 * N', M')
        members = references.vectors[columns]
        ranks[:, rows] = rank_in_class(pair.flatten(0, 1), members, allowed, k=k).view(2, -1)
    return {"rank_guide": ranks[0], "rank_adversary": ranks[1], "rank_change": ranks[1] - ranks[0]}


def rank_in_class(points: Tensor, members: Tensor, allowed: Tensor, *, k: int) -> Tensor:
    """Return the ranks of points (P, D) among the members (M, D) of a class, in [0, 1], (P,).

    Args:
        points: what to rank.
        members: the class's own points.
        allowed: which members count for a point, bool (P, M).
        k: neighbours.
    """
    if len(members) <= k:
        return points.new_full((len(points),), torch.nan)
    own = _mean_of_nearest(pairwise(members), k)  # (M,)
    found = distances(points, members, metric="l2").masked_fill(~allowed, torch.inf)
    means = _mean_of_nearest(found, k)  # (P,)
    nearer = (own < means[:, None]) & allowed
    ranks = nearer.sum(1) / allowed.sum(1)
    return torch.where(means.isfinite(), ranks, torch.nan).to(points.dtype)


def shared_neighbours(
    samples: GuidedSamples, references: ReferenceSet, *, k: int = 3
) -> dict[str, Tensor]:
    """Count the neighbours that an adversary has in common with its guide and with its source.

    Neighbours are the k nearest of the whole reference set by Euclidean distance, without the
    sample's source and guide, which it may contain.

    Args:
        samples: N of them.
        references: where the neighbours come from.
        k: neighbours.

    Returns:
        Columns (N,): "shared_with_guide" and "shared_with_source", from 0 to k, and
        "same_neighbours", 1 where all k are shared with the guide and 0 elsewhere. NaN where the
        set has fewer than k others.

    Source: Sabour et al. 2016 (their intersection of the 3 nearest neighbours).
    """
    counted = references.others(samples)  # (N, M)
    nearest = []
    for points in (samples.adversary, samples.guide, samples.source):
        found = distances(points, references.vectors, metric="l2")  # (N, M)
        order = found.masked_fill(~counted, torch.inf).argsort(dim=1, stable=True)
        nearest.append(order[:, :k])
    enough = counted.sum(1) >= k
    shared = {
        name: (nearest[0][:, :, None] == others[:, None, :]).sum((1, 2))
        for name, others in (("guide", nearest[1]), ("source", nearest[2]))
    }  # (N,) each
    columns = {f"shared_with_{name}": count for name, count in shared.items()}
    columns["same_neighbours"] = shared["guide"] == k
    return {
        name: column.to(samples.guide.dtype).masked_fill(~enough, torch.nan)
        for name, column in columns.items()
    }


def _mean_of_nearest(found: Tensor, k: int) -> Tensor:
    """Return the mean of the k smallest of distances (P, M), (P,)."""
    return found.topk(k, dim=1, largest=False).values.mean(1)
