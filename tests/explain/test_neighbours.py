"""Nearest neighbours against scikit-learn's."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch import nn

from explain.network.neighbours import nearest_neighbours


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5))


@pytest.mark.parametrize(("metric", "theirs"), [("cosine", "cosine"), ("l2", "euclidean")])
@pytest.mark.parametrize("layer", ["0", "3"])
def test_they_are_scikit_learns(model, metric, theirs, layer):
    queries, references = random(6, 3, 6, 6), random(40, 3, 6, 6, seed=1)
    batches = [(part, torch.zeros(len(part))) for part in references.split(9)]
    found = nearest_neighbours(model, layer, queries, batches, k=4, metric=metric, chunk=5)
    depth = int(layer) + 1
    with torch.no_grad():
        own, others = (model[:depth](x).flatten(1).numpy() for x in (queries, references))
    oracle = NearestNeighbors(metric=theirs, algorithm="brute").fit(others.astype(float))
    wanted, numbers = oracle.kneighbors(own.astype(float), 4)
    np.testing.assert_array_equal(found.numbers, numbers)
    np.testing.assert_allclose(found.distances, wanted, atol=1e-5)


def test_a_sample_is_its_own_nearest_and_of_equal_ones_the_first_comes_first(model):
    x = random(5, 3, 6, 6)
    found = nearest_neighbours(model, "3", x, [(x,), (x,)], k=2, metric="l2")
    assert found.numbers.tolist() == [[i, i + 5] for i in range(5)]
    assert not found.distances.any()


def test_a_small_set_has_fewer(model):
    x = random(3, 3, 6, 6)
    assert nearest_neighbours(model, "3", x, [(x,)], k=9).numbers.shape == (3, 3)


def test_an_unknown_layer_is_refused(model):
    with pytest.raises(ValueError, match="layer is 'nowhere'"):
        nearest_neighbours(model, "nowhere", random(1, 3, 6, 6), [(random(1, 3, 6, 6),)])
