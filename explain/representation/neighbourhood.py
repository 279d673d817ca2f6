"""The neighbourhood of each guide in its class, and how a point there is scored."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from explain.network.neighbours import distances
from explain.representation.samples import GuidedSamples, ReferenceSet

VALUES = 2**25  # of neighbours in memory at once

# From points (N, P, D), guides (N, D) and their neighbours (N, n, D) to scores (N, P).
PointScore = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Neighbourhood:
    """Members of each guide's class by their cosine distance from the guide, as rows of a set.

    Source and guide are left out where the set has them. The near members were held out: they are
    what an inlier looks like.

    Attributes:
        nearest: the n nearest members, int64 (N, n).
        near: those that follow, int64 (N, h).
        far: the farthest of the class, int64 (N, h).
        enough: whether the class has n + 2 h members, bool (N,).
    """

    nearest: Tensor
    near: Tensor
    far: Tensor
    enough: Tensor

    @classmethod
    def of(
        cls, samples: GuidedSamples, references: ReferenceSet, *, neighbours: int, held_out: int
    ) -> "Neighbourhood":
        """Sort the members of the guides' classes.

        Args:
            samples: N of them.
            references: where the members are taken from.
            neighbours: n.
            held_out: h.
        """
        members = references.others(samples) & (
            references.labels == samples.guide_labels[:, None]
        )  # (N, M)
        found = distances(samples.guide, references.vectors, metric="cosine")
        order = found.masked_fill(~members, torch.inf).argsort(dim=1, stable=True)
        count = members.sum(1, keepdim=True)  # (N, 1)
        steps = torch.arange(held_out, device=count.device)
        ends = (count - held_out + steps).clamp(0, order.shape[1] - 1)  # (N, h)
        return cls(
            order[:, :neighbours],
            order[:, neighbours : neighbours + held_out],
            order.gather(1, ends),
            count[:, 0] >= neighbours + 2 * held_out,
        )


def score_points(
    score: PointScore,
    samples: GuidedSamples,
    references: ReferenceSet,
    *,
    neighbours: int,
    held_out: int,
) -> dict[str, Tensor]:
    """Score adversaries, and what to compare them with, by the neighbourhood of their guides.

    Args:
        score: of points.
        samples: N of them.
        references: where the neighbours are taken from.
        neighbours: the nearest members of the guide's class by cosine, which the score knows.
        held_out: members that it does not know, near ones and as many far ones.

    Returns:
        Scores (N,) of the "adversary" and of the "source", and means over the "near" and the "far"
        members. NaN where a class has fewer members than neighbours + 2 held_out.
    """
    hood = Neighbourhood.of(samples, references, neighbours=neighbours, held_out=held_out)
    kept = hood.enough.nonzero()[:, 0]
    scores = samples.guide.new_full((len(samples.guide), 2 + 2 * held_out), torch.nan)
    at_once = max(1, VALUES // ((neighbours + 2 * held_out) * samples.guide.shape[1]))
    for rows in torch.split(kept, at_once) if len(kept) else ():
        others = references.vectors[torch.cat([hood.near[rows], hood.far[rows]], 1)]  # (N', 2h, D)
        own = torch.stack([samples.adversary[rows], samples.source[rows]], 1)  # (N', 2, D)
        known = references.vectors[hood.nearest[rows]]  # (N', n, D)
        scores[rows] = score(torch.cat([own, others], 1), samples.guide[rows], known).to(scores)
    adversary, source, near, far = torch.split(scores, [1, 1, held_out, held_out], 1)
    parts = {"adversary": adversary, "source": source, "near": near, "far": far}
    return {name: part.mean(1) for name, part in parts.items()}
