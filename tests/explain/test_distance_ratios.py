"""Distance ratios against SciPy and scikit-learn."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist
from sklearn.neighbors import NearestNeighbors

from explain.representation.distance_ratios import distance_ratios
from explain.representation.samples import GuidedSamples, ReferenceSet


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def references():
    return ReferenceSet(normal(60, 7) + 5, torch.arange(60) % 3)


def samples(n=5, size=7):
    labels = torch.arange(n) % 3
    vectors = [normal(n, size, seed=seed) for seed in (1, 2, 3)]
    return GuidedSamples(*vectors, labels, (labels + 1) % 3)


def test_they_are_distances_in_units_of_scipys_and_scikit_learns():
    mine, refs = samples(), references()
    s, g, x = (each.double().numpy() for each in (mine.source, mine.guide, mine.adversary))
    found = distance_ratios(mine, refs)
    for i in range(5):
        own, guides = (
            refs.vectors[refs.labels == labels[i]].double().numpy()
            for labels in (mine.source_labels, mine.guide_labels)
        )
        nearest = NearestNeighbors(n_neighbors=2).fit(guides).kneighbors(guides)[0][:, 1].mean()
        wanted = {
            "guide_ratio": np.linalg.norm(x[i] - g[i]) / np.linalg.norm(s[i] - g[i]),
            "source_ratio": np.linalg.norm(x[i] - s[i]) / pdist(own).mean(),
            "nearest_ratio": np.linalg.norm(x[i] - g[i]) / nearest,
        }
        assert {name: found[name][i].item() for name in found} == pytest.approx(wanted, rel=1e-5)


def test_of_a_copy_of_the_guide_and_of_the_source():
    mine = samples()
    copies = [GuidedSamples(mine.source, mine.guide, each, mine.source_labels, mine.guide_labels)
              for each in (mine.guide, mine.source)]  # fmt: skip
    first, second = (distance_ratios(each, references()) for each in copies)
    assert not first["guide_ratio"].any()
    assert not first["nearest_ratio"].any()
    torch.testing.assert_close(second["guide_ratio"], torch.ones(5))
    assert not second["source_ratio"].any()


def test_no_scale_of_the_representation_changes_them():
    mine, refs = samples(), references()
    larger = [1000 * each for each in (mine.source, mine.guide, mine.adversary)]
    other = GuidedSamples(*larger, mine.source_labels, mine.guide_labels)
    found = distance_ratios(other, ReferenceSet(1000 * refs.vectors, refs.labels))
    for name, column in distance_ratios(mine, refs).items():
        torch.testing.assert_close(found[name], column)


def test_a_class_of_one_member_says_nothing():
    refs = ReferenceSet(normal(4, 7), torch.tensor([0, 1, 1, 1]))
    found = distance_ratios(samples(), refs)
    assert found["source_ratio"].isnan().tolist() == [True, False, True, True, False]
    assert found["nearest_ratio"].isnan().tolist() == [False, True, True, False, True]
    assert found["guide_ratio"].isfinite().all()


@pytest.mark.parametrize(("change", "words"), [
    ({"adversary": normal(5, 6)}, "give \\(N, D\\) of one layer"),
    ({"guide": normal(5, 7, 1)}, "output.flatten"),
    ({"source_labels": torch.arange(4)}, "source_labels have shapes"),
    ({"source": torch.full((5, 7), torch.nan)}, "source holds NaN"),
])  # fmt: skip
def test_what_does_not_belong_together_is_refused(change, words):
    mine = samples()
    with pytest.raises(ValueError, match=words):
        GuidedSamples(**(vars(mine) | change))
