"""Whether an adversary lies in the direction of the guide's neighbours: no linear model needed."""

import torch
from torch import Tensor
from torch.linalg import vector_norm

from explain.representation.neighbourhood import score_points
from explain.representation.samples import GuidedSamples, ReferenceSet


def angular_consistency(
    samples: GuidedSamples, references: ReferenceSet, *, neighbours: int = 20, held_out: int = 5
) -> dict[str, Tensor]:
    """Compare the direction from a guide to its adversary with those to the guide's neighbours.

    Where neighbours are few, or their manifold is curved, a Gaussian fits badly; directions do not
    ask for one. Computed is the mean of the cosines between phi(x) - phi(g) and phi(r) - phi(g),
    where r are the members of the guide's class that are nearest to the guide by cosine. In many
    dimensions it is near 0 for a step into a random direction.

    Args:
        samples: N of them.
        references: where the neighbours are taken from.
        neighbours: r.
        held_out: other members to compare with, the next nearest ones and as many of the farthest.

    Returns:
        Columns (N,) in [-1, 1]: "angle" of the adversary, "angle_source", and means "angle_near"
        and "angle_far". NaN where a class has fewer members than neighbours + 2 held_out, or a
        point is the guide itself.

    Source: Sabour et al. 2016 (angular consistency measure).
    """
    scores = score_points(
        mean_cosine, samples, references, neighbours=neighbours, held_out=held_out
    )
    own = scores.pop("adversary")
    return {"angle": own, **{f"angle_{name}": each for name, each in scores.items()}}


def mean_cosine(points: Tensor, guide: Tensor, neighbours: Tensor) -> Tensor:
    """Return the mean cosine between directions from a guide to a point and to neighbours, (N, P).

    Args:
        points: (N, P, D).
        guide: (N, D).
        neighbours: (N, n, D).

    >>> at = torch.zeros(1, 2)
    >>> mean_cosine(torch.tensor([[[3.0, 0.0]]]), at, torch.tensor([[[1.0, 0.0], [0.0, 2.0]]]))
    tensor([[0.5000]])
    """
    to_points, to_neighbours = points - guide[:, None], neighbours - guide[:, None]
    lengths = [vector_norm(each, dim=2) for each in (to_points, to_neighbours)]  # (N, P), (N, n)
    cosines = to_points @ to_neighbours.mT / (lengths[0][:, :, None] * lengths[1][:, None])
    return torch.mean(cosines, 2)
