"""The Gaussian at a guide against SciPy's with the explicit covariance."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import cosine_distances

from explain.representation.manifold import log_likelihood_ratio, manifold_likelihood
from explain.representation.samples import GuidedSamples, ReferenceSet


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def covariance_of(neighbours, q):
    """Maximum-likelihood PPCA: W W^T + noise I, from the eigenvalues of the covariance."""
    whole = np.cov(neighbours, rowvar=False, bias=True)
    values, vectors = np.linalg.eigh(whole)
    values, vectors = values[::-1], vectors[:, ::-1]
    noise = values[q:].mean()
    loadings = vectors[:, :q] * np.sqrt(values[:q] - noise)
    return loadings @ loadings.T + noise * np.eye(len(whole))


@pytest.mark.parametrize(("size", "n", "q"), [(8, 20, 3), (40, 20, 10), (5, 12, 4)])
def test_it_is_scipys_log_density_less_the_guides(size, n, q):
    neighbours, guide = normal(2, n, size) * torch.arange(1, size + 1), normal(2, size, seed=1)
    points = guide[:, None] + normal(2, 3, size, seed=2)
    found = log_likelihood_ratio(points, guide, neighbours, components=q)
    for i in range(2):
        mean = guide[i].double().numpy()
        density = multivariate_normal(mean, covariance_of(neighbours[i].double().numpy(), q))
        wanted = density.logpdf(points[i].double().numpy()) - density.logpdf(mean)
        np.testing.assert_allclose(found[i], wanted, rtol=1e-6)


def test_with_all_dimensions_but_one_it_is_scikit_learns_pca():
    """There both have the sample covariance itself, but for its denominator."""
    neighbours = normal(1, 30, 6)
    points = normal(1, 4, 6, seed=1)
    oracle = PCA(5).fit(neighbours[0].double().numpy())
    oracle.mean_ = np.zeros(6)
    wanted = oracle.score_samples(points[0].double().numpy())
    wanted -= oracle.score_samples(np.zeros((1, 6)))
    found = log_likelihood_ratio(points, torch.zeros(1, 6), neighbours, components=5)
    np.testing.assert_allclose(found[0] * 29 / 30, wanted, rtol=1e-6)


def planted(classes=2, per_class=120, size=50, dims=4):
    """Classes that lie near planes of their own, far from the origin."""
    rows, labels = [], []
    for label in range(classes):
        plane = torch.linalg.qr(normal(size, dims, seed=10 + label))[0].T
        centre = 20 * normal(size, seed=20 + label)
        noise = 0.05 * normal(per_class, size, seed=30 + label)
        rows.append(centre + 3 * normal(per_class, dims, seed=40 + label) @ plane + noise)
        labels += [label] * per_class
    return ReferenceSet(torch.cat(rows), torch.tensor(labels))


def with_adversary(refs, adversary, guides):
    source = refs.vectors[120 : 120 + len(guides)]
    ones = torch.ones(len(guides), dtype=torch.int64)
    return GuidedSamples(source, refs.vectors[guides], adversary, ones, 0 * ones)


def test_a_step_in_the_plane_of_the_class_is_likelier_than_one_out_of_it():
    refs, guides = planted(), [0, 1, 2]
    mine = refs.of_class(0)
    plane = torch.linalg.svd(mine - mine.mean(0), full_matrices=False).Vh
    inside, outside = (refs.vectors[guides] + plane[row] for row in (0, 10))
    found = [manifold_likelihood(with_adversary(refs, each, guides), refs, components=4)
             for each in (inside, outside, refs.vectors[guides])]  # fmt: skip
    assert (found[0]["likelihood"] > found[0]["likelihood_far"]).all()
    assert (found[1]["likelihood"] < 3 * found[1]["likelihood_near"]).all()
    assert (found[1]["likelihood"] < 20 * found[0]["likelihood"]).all()
    assert not found[2]["likelihood"].any()  # the guide's own
    assert (found[0]["likelihood_source"] < found[0]["likelihood_far"]).all()
    assert (found[0]["likelihood_near"] > found[0]["likelihood_far"]).all()


def test_the_neighbours_are_the_nearest_of_the_class_by_cosine_without_the_guide():
    refs, guides = planted(), [5]
    adversary = refs.vectors[guides] + 0.1 * normal(1, 50)
    found = manifold_likelihood(with_adversary(refs, adversary, guides), refs, neighbours=12,
                                components=3, held_out=2)  # fmt: skip
    mine = refs.of_class(0)
    order = cosine_distances(mine[guides].numpy(), mine.numpy())[0].argsort(kind="stable")
    order = order[order != 5]
    likelihood = multivariate_normal(
        mine[5].double().numpy(), covariance_of(mine[order[:12]].double().numpy(), 3)
    ).logpdf
    own = likelihood(mine[5].double().numpy())
    near, far = (likelihood(mine[rows].double().numpy()).mean() - own
                 for rows in (order[12:14], order[-2:]))  # fmt: skip
    wanted = [likelihood(adversary[0].double().numpy()) - own, near, far]
    names = ["likelihood", "likelihood_near", "likelihood_far"]
    np.testing.assert_allclose([found[name].item() for name in names], wanted, rtol=1e-4)


def test_what_cannot_be_known_is_nan_and_what_cannot_be_fitted_is_refused():
    refs = planted(per_class=120)
    mine = with_adversary(refs, normal(2, 50), [0, 1])
    few = ReferenceSet(refs.vectors[91:], refs.labels[91:])  # 29 of the class
    assert manifold_likelihood(mine, few)["likelihood"].isnan().all()
    fewer = ReferenceSet(refs.vectors[:3], refs.labels[:3])  # than are held out
    assert manifold_likelihood(mine, fewer)["likelihood"].isnan().all()
    more = ReferenceSet(refs.vectors[90:], refs.labels[90:])
    assert manifold_likelihood(mine, more)["likelihood"].isfinite().all()
    flat = normal(1, 20, 2) @ normal(2, 9)  # neighbours in a plane
    assert log_likelihood_ratio(flat, flat[:, 0], flat, components=2).isnan().all()
    with pytest.raises(ValueError, match="give 1 to 18"):
        manifold_likelihood(mine, refs, components=19)
