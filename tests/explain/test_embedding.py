"""t-SNE of representations: groups stay together, and the data set is read in batches."""

import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from explain.network.embedding import embed
from explain.network.vectors import collect_vectors


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_vectors_are_the_layers_outputs_in_the_order_of_the_set():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5)).train()
    x = random(11, 3, 6, 6)
    found = collect_vectors(model, "1", [(x[:7], None)[:1], (x[7:],)], chunk=3)
    torch.testing.assert_close(found, model[:2](x).flatten(1).detach())
    assert model.training


def test_groups_of_vectors_stay_together_in_the_plane_whatever_their_size():
    groups = torch.arange(90) % 3
    vectors = random(90, 80) + 3 * groups[:, None] * random(80, seed=1)
    state = torch.get_rng_state()
    points = embed(vectors, perplexity=10)
    assert points.shape == (90, 2)
    assert torch.equal(torch.get_rng_state(), state)
    near = KNeighborsClassifier(5).fit(points[::2], groups[::2])
    assert near.score(points[1::2], groups[1::2]) == 1
    assert torch.equal(points, embed(vectors, perplexity=10))


def test_a_perplexity_that_the_vectors_are_too_few_for_is_refused():
    with pytest.raises(ValueError, match=r"perplexity is 30.0 for vectors \(20, 4\)"):
        embed(random(20, 4))
