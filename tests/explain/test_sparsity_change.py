"""Active units against sets of their numbers."""

import pytest
import torch
from sklearn.metrics import jaccard_score

from explain.representation.samples import GuidedSamples
from explain.representation.sparsity_change import sparsity_change


def rectified(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).sub(0.5).clamp_min(0)


def samples(*three):
    labels = torch.zeros(len(three[0]), dtype=torch.int64)
    return GuidedSamples(*three, labels, labels)


def test_shares_and_overlaps_are_those_of_sets():
    s, g, x = (rectified(4, 50, seed=seed) for seed in (1, 2, 3))
    found = sparsity_change(samples(s, g, x))
    for i in range(4):
        sets = {"source": s[i], "guide": g[i], "adversary": x[i]}
        active = {name: set(row.nonzero()[:, 0].tolist()) for name, row in sets.items()}
        own = active["adversary"]
        for name, units in active.items():
            assert found[f"active_{name}"][i].item() == pytest.approx(len(units) / 50)
        for name in ("source", "guide"):
            change = (len(own) - len(active[name])) / 50
            assert found[f"active_change_{name}"][i].item() == pytest.approx(change, abs=1e-6)
            overlap = len(own & active[name]) / len(own | active[name])
            assert found[f"iou_{name}"][i].item() == pytest.approx(overlap)
            theirs = jaccard_score(sets[name] > 0, x[i] > 0)
            assert found[f"iou_{name}"][i].item() == pytest.approx(theirs)


def test_copies_overlap_wholly_and_negative_values_are_not_active():
    s, g = rectified(3, 20, seed=1), rectified(3, 20, seed=2)
    found = sparsity_change(samples(s, g, g))
    assert found["iou_guide"].tolist() == [1, 1, 1]
    assert not found["active_change_guide"].any()
    found = sparsity_change(samples(-s, g, g))
    assert not found["active_source"].any()
    assert not found["iou_source"].any()
    assert sparsity_change(samples(-s, -g, -g))["iou_guide"].isnan().all()
