"""Angular consistency against scikit-learn's cosines."""

import numpy as np
import torch
from sklearn.metrics.pairwise import cosine_distances, cosine_similarity

from explain.representation import neighbourhood
from explain.representation.angles import angular_consistency
from explain.representation.samples import GuidedSamples, ReferenceSet


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def references():
    labels = torch.arange(120) % 2
    return ReferenceSet(normal(120, 30) + 2 + 3 * labels[:, None], labels)


def samples(adversary, refs):
    """From sources of class 1, to guides of class 0, which the set has."""
    zeros = torch.zeros(3, dtype=torch.int64)
    return GuidedSamples(refs.vectors[[1, 3, 5]], refs.vectors[[0, 2, 4]], adversary, zeros + 1,
                         zeros)  # fmt: skip


def test_it_is_the_mean_of_scikit_learns_cosines(monkeypatch):
    monkeypatch.setattr(neighbourhood, "VALUES", 1)  # a sample at a time
    refs = references()
    mine = samples(normal(3, 30, seed=4), refs)
    found = angular_consistency(mine, refs, neighbours=7, held_out=3)
    members = refs.of_class(0).double().numpy()
    for i in range(3):
        others = np.delete(members, i, 0)
        guide = members[i]
        order = cosine_distances(guide[None], others)[0].argsort()
        parts = {
            "angle": mine.adversary[i].double().numpy()[None],
            "angle_source": mine.source[i].double().numpy()[None],
            "angle_near": others[order[7:10]],
            "angle_far": others[order[-3:]],
        }
        for name, points in parts.items():
            cosines = cosine_similarity(points - guide, others[order[:7]] - guide)
            np.testing.assert_allclose(found[name][i], cosines.mean(), rtol=1e-4)


def test_towards_the_neighbours_it_is_high_away_from_them_low_and_elsewhere_0():
    refs = references()
    guide, middle = refs.vectors[[0, 2, 4]], refs.of_class(0).mean(0)
    aside = torch.zeros(3, 30)
    steps = {"towards": middle - guide, "away": guide - middle}
    found = {name: angular_consistency(samples(guide + 0.1 * step, refs), refs)["angle"]
             for name, step in steps.items()}  # fmt: skip
    assert (found["towards"] > 0.5).all()
    torch.testing.assert_close(found["away"], -found["towards"], rtol=1e-3, atol=0)
    # A dimension that no member of the class uses.
    wide = ReferenceSet(torch.cat([refs.vectors, torch.zeros(120, 1)], 1), refs.labels)
    mine = samples(torch.cat([guide + aside, torch.ones(3, 1)], 1), wide)
    assert angular_consistency(mine, wide)["angle"].abs().max() < 1e-6


def test_of_the_guide_itself_there_is_no_direction_and_of_a_small_class_none():
    refs = references()
    found = angular_consistency(samples(refs.vectors[[0, 2, 4]], refs), refs)
    assert found["angle"].isnan().all()
    assert found["angle_near"].isfinite().all()
    found = angular_consistency(samples(normal(3, 30), refs), refs, neighbours=55, held_out=3)
    assert found["angle_near"].isnan().all()
