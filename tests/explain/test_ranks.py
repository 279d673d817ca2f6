"""Ranks and neighbours against slow loops with scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from explain.representation.ranks import rank_changes, shared_neighbours
from explain.representation.samples import GuidedSamples, ReferenceSet


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def clusters(per_class=30, size=6):
    labels = torch.arange(3 * per_class) % 3
    return ReferenceSet(normal(len(labels), size) + 8 * labels[:, None], labels)


def guided(refs, adversary, *, sources=(0, 1, 2), guides=(31, 32, 30)):
    """Sources and guides are rows of the reference set."""
    s, g = list(sources), list(guides)
    return GuidedSamples(refs.vectors[s], refs.vectors[g], adversary, refs.labels[s],
                         refs.labels[g])  # fmt: skip


def slow_rank(point, members, allowed, k):
    """Of one point, by scikit-learn; `members` are the class's, `allowed` those that count."""
    own = NearestNeighbors(n_neighbors=k).fit(members).kneighbors()[0].mean(1)
    mine = NearestNeighbors(n_neighbors=k).fit(members[allowed]).kneighbors(point[None])[0].mean()
    return np.mean(own[allowed] < mine)


@pytest.mark.parametrize("k", [1, 3])
def test_ranks_are_those_of_scikit_learns_neighbours(k):
    refs = clusters()
    mine = guided(refs, refs.vectors[[31, 32, 30]] + 0.7 * normal(3, 6, seed=5))
    found = rank_changes(mine, refs, k=k)
    for i, guide in enumerate((31, 32, 30)):
        rows = (refs.labels == refs.labels[guide]).nonzero()[:, 0].numpy()
        members, allowed = refs.vectors[rows].double().numpy(), rows != guide
        ranks = [slow_rank(each[i].double().numpy(), members, allowed, k)
                 for each in (mine.guide, mine.adversary)]  # fmt: skip
        assert found["rank_guide"][i].item() == pytest.approx(ranks[0])
        assert found["rank_adversary"][i].item() == pytest.approx(ranks[1])
        assert found["rank_change"][i].item() == pytest.approx(ranks[1] - ranks[0])


def test_a_copy_of_the_guide_has_its_rank_and_a_far_point_is_outermost():
    refs = clusters()
    copy = rank_changes(guided(refs, refs.vectors[[31, 32, 30]]), refs)
    assert not copy["rank_change"].any()
    assert (copy["rank_guide"] < 1).any()
    far = rank_changes(guided(refs, refs.vectors[[31, 32, 30]] + 100), refs)
    assert (far["rank_adversary"] == 1).all()


def test_the_middle_of_the_class_is_innermost():
    refs = clusters(per_class=200)
    middle = torch.stack([refs.of_class(label).mean(0) for label in (1, 2, 0)])
    found = rank_changes(guided(refs, middle), refs)
    assert (found["rank_adversary"] < 0.15).all()


def test_it_does_not_matter_whether_the_set_has_the_guide_with_a_rounding():
    refs = clusters()
    mine = guided(refs, refs.vectors[[31, 32, 30]] + 0.3)
    rounded = GuidedSamples(mine.source, mine.guide * (1 + 1e-6), mine.adversary,
                            mine.source_labels, mine.guide_labels)  # fmt: skip
    assert torch.equal(rank_changes(mine, refs)["rank_guide"],
                       rank_changes(rounded, refs)["rank_guide"])  # fmt: skip


def test_a_small_class_has_no_ranks():
    refs = ReferenceSet(normal(8, 6), torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]))
    mine = guided(refs, normal(2, 6), sources=(0, 4), guides=(4, 0))
    assert rank_changes(mine, refs, k=4)["rank_adversary"].isnan().all()
    # Of four members one is the guide: three neighbours are left.
    assert rank_changes(mine, refs, k=3)["rank_adversary"].isfinite().all()


def test_shared_neighbours_are_scikit_learns():
    refs, n = clusters(per_class=10), 12
    guides = torch.arange(n) + 13
    x = refs.vectors[guides] + 0.6 * normal(n, 6, seed=2)
    x[::3] = refs.vectors[:n:3] + 0.6 * normal(4, 6, seed=3)  # these stay near their sources
    mine = guided(refs, x, sources=range(n), guides=guides.tolist())
    found = shared_neighbours(mine, refs, k=3)
    for i in range(n):
        rows = np.setdiff1d(np.arange(30), [i, i + 13])
        oracle = NearestNeighbors(n_neighbors=3).fit(refs.vectors[rows].numpy())
        x, g, s = (set(oracle.kneighbors(each[i : i + 1].numpy())[1][0])
                   for each in (mine.adversary, mine.guide, mine.source))  # fmt: skip
        assert found["shared_with_guide"][i] == len(x & g)
        assert found["shared_with_source"][i] == len(x & s)
        assert found["same_neighbours"][i] == (x == g)
    assert 0 < found["same_neighbours"].sum() < n
    assert 0 < found["shared_with_source"].sum() < 3 * n


def test_copies_share_all_neighbours():
    refs = clusters()
    found = shared_neighbours(guided(refs, refs.vectors[[31, 32, 30]]), refs)
    assert found["shared_with_guide"].tolist() == [3, 3, 3]
    assert found["same_neighbours"].tolist() == [1, 1, 1]
    assert not found["shared_with_source"].any()
    found = shared_neighbours(guided(refs, refs.vectors[:3]), refs)
    assert found["shared_with_source"].tolist() == [3, 3, 3]
    few = ReferenceSet(refs.vectors[:3], refs.labels[:3])
    assert shared_neighbours(guided(refs, refs.vectors[:3]), few)["same_neighbours"].isnan().all()
