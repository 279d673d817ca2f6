"""How likely a representation is under a Gaussian of the guide's neighbours, centred at the guide.

Probabilistic PCA stands for the tangent space of the manifold that natural samples lie on.
"""

import torch
from torch import Tensor

from explain.representation.neighbourhood import score_points
from explain.representation.samples import GuidedSamples, ReferenceSet

ROUNDING = 1e-12  # a smaller share of the variance is none


def manifold_likelihood(
    samples: GuidedSamples,
    references: ReferenceSet,
    *,
    neighbours: int = 20,
    components: int = 10,
    held_out: int = 5,
) -> dict[str, Tensor]:
    """Compute log-likelihoods in a model of the guide's neighbourhood, less the guide's own.

    The model is fitted to the members of the guide's class that are nearest by cosine. Members
    that it was not fitted to say what an inlier has, and what a distant point of the class.

    Args:
        samples: N of them.
        references: where the neighbours are taken from.
        neighbours: that the model is fitted to.
        components: dimensions of the subspace; fewer than neighbours - 1 and than D.
        held_out: members to compare with, the next nearest ones and as many of the farthest.

    Returns:
        Columns (N,), at most 0: "likelihood" of the adversary, "likelihood_source", and means
        "likelihood_near" and "likelihood_far". NaN where a class has fewer members than
        neighbours + 2 held_out, or where the components leave no variance.

    Raises:
        ValueError: for too many components.

    Source: Sabour et al. 2016 (manifold tangent space).
    """
    most = min(neighbours - 2, samples.guide.shape[1] - 1)
    if not 1 <= components <= most:
        raise ValueError(
            f"components is {components} for {neighbours} neighbours with "
            f"{samples.guide.shape[1]} values each; give 1 to {most}, so that some variance is "
            "left for the noise"
        )
    scores = score_points(
        lambda points, guide, known: log_likelihood_ratio(
            points, guide, known, components=components
        ),
        samples,
        references,
        neighbours=neighbours,
        held_out=held_out,
    )
    own = scores.pop("adversary")
    return {"likelihood": own, **{f"likelihood_{name}": each for name, each in scores.items()}}


def log_likelihood_ratio(
    points: Tensor, guide: Tensor, neighbours: Tensor, *, components: int
) -> Tensor:
    """Return log p(point) - log p(guide) in the PPCA model at a guide, (N, P).

    The covariance is that of probabilistic PCA of the neighbours around their own mean: the
    principal variances along q principal directions, and in all others noise of their mean
    variance. The Gaussian is then moved, so that its mean is the guide. It is computed from inner
    products alone, without a matrix of D x D, in float64.

    Args:
        points: (N, P, D).
        guide: (N, D).
        neighbours: (N, n, D).
        components: q, below n - 1 and below D.

    Returns:
        Natural logarithms; NaN where neighbours have no variance but along the components.

    Source: Tipping & Bishop 1999, eqs. (7) and (8), with maximum-likelihood variances.
    """
    count, size = neighbours.shape[1:]
    known = neighbours.double()
    centred = known - known.mean(1, keepdim=True)  # (N, n, D)
    variances, vectors = torch.linalg.eigh(centred @ centred.mT / count)  # (N, n), (N, n, n)
    main, vectors = variances[:, -components:], vectors[..., -components:]  # q of them
    rest = variances[:, :-components].clamp_min(0).sum(1, keepdim=True)
    # Neighbours in a plane of q dimensions leave no noise, and no likelihood beyond the plane.
    noise = rest.where(rest > ROUNDING * main.sum(1, keepdim=True), torch.nan) / (size - components)
    offsets = points.double() - guide.double()[:, None]  # (N, P, D)
    inner = offsets @ centred.mT @ vectors  # (N, P, q)
    along = inner.square() / (count * main[:, None])  # squared coordinates
    beyond = offsets.square().sum(2) - along.sum(2)  # (N, P)
    distance = (along / main[:, None]).sum(2) + beyond.clamp_min(0) / noise
    return torch.mul(distance, -0.5)
