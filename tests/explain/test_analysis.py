"""The whole analysis: its columns and summary, planted adversaries, and real ones of digits."""

import numpy as np
import pytest
import torch

from attacks import ATTACKS
from augment import load_dataset
from explain.representation.analysis import ColumnSummary, analyse_representations
from explain.representation.collect import collect_guided, collect_references
from explain.representation.random_network import with_orthonormal_weights
from explain.representation.samples import GuidedSamples, ReferenceSet
from trainers import load_classifier

LAYER = "stage3"


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def planted(n=8, size=40):
    """Two classes of 60 around two centres, and guides of class 1."""
    labels = torch.arange(120) % 2
    refs = ReferenceSet(normal(120, size) + 6 * labels[:, None], labels)
    zeros = torch.zeros(n, dtype=torch.int64)
    return refs, (refs.of_class(0)[:n], refs.of_class(1)[:n]), (zeros, zeros + 1)


def test_copies_of_guides_are_inliers_and_far_points_are_not():
    refs, (source, guide), labels = planted()
    copy, far = (analyse_representations(GuidedSamples(source, guide, x, *labels), refs).table
                 for x in (guide.clone(), guide - 100))  # fmt: skip
    assert not copy["guide_ratio"].any()
    assert not copy["rank_change"].any()
    assert not copy["likelihood"].any()
    assert (copy["same_neighbours"] == 1).all()
    assert (copy["iou_guide"] == 1).all()
    assert (far["guide_ratio"] > 1).all()
    assert (far["rank_adversary"] == 1).all()
    assert (far["likelihood"] < 10 * far["likelihood_far"]).all()
    assert (far["angle"] < far["angle_far"]).all()
    assert all(column.shape == (8,) for column in copy.values())


def test_a_sample_is_analysed_by_itself():
    refs, (source, guide), labels = planted()
    samples = GuidedSamples(source, guide, guide + normal(8, 40, seed=3), *labels)
    whole = analyse_representations(samples, refs).table
    one = GuidedSamples(*(each[5:6] for each in vars(samples).values()))
    for name, column in analyse_representations(one, refs).table.items():
        torch.testing.assert_close(column, whole[name][5:6])


def test_the_summary_is_numpys_without_what_is_unknown():
    values = normal(9)
    column = torch.cat([values, torch.tensor([torch.nan])])
    wanted = [9, values.double().mean().item(), *np.percentile(values.double(), [25, 50, 75])]
    found = ColumnSummary.of(column)
    assert list(vars(found).values()) == pytest.approx(wanted)
    empty = ColumnSummary.of(torch.full((3,), torch.nan))
    assert empty.count == 0
    assert np.isnan([empty.mean, empty.low, empty.median, empty.high]).all()


def test_references_of_another_layer_are_refused():
    refs, (source, guide), labels = planted()
    other = ReferenceSet(refs.vectors[:, :30], refs.labels)
    with pytest.raises(ValueError, match="give both of the same layer"):
        analyse_representations(GuidedSamples(source, guide, guide, *labels), other)


@pytest.fixture(scope="module")
def digits():
    """A robust classifier of digits, training samples, and pairs of source and guide."""
    model = load_classifier("zoo:digits-smallcnn-linf", in_channels=1)
    train, test = (
        [torch.stack([torch.as_tensor(each[i]) for each in split]) for i in (0, 1)]
        for split in (load_dataset("digits", "train"), load_dataset("digits", "test"))
    )
    x, y = test[0][:100], test[1][:100]
    guides = torch.tensor([next(j for j in range(i + 7, 100) if y[j] != y[i]) for i in range(12)])
    return model, [train], (x[:12], x[guides]), (y[:12], y[guides])


def medians(model, train, pair, labels, x_adv):
    samples = collect_guided(model, LAYER, source=pair[0], guide=pair[1], adversary=x_adv,
                             source_labels=labels[0], guide_labels=labels[1])  # fmt: skip
    summary = analyse_representations(samples, collect_references(model, LAYER, train)).summary()
    assert all(column.count == 12 for column in summary.values())
    return {name: column.median for name, column in summary.items()}


@pytest.fixture(scope="module")
def found(digits):
    """Medians of three attacks, and of feature adversaries for random orthonormal weights."""
    model, train, pair, labels = digits
    attacks = {
        "feature": ATTACKS["feature"](layer=LAYER, eps=0.3),
        "label-fgsm": ATTACKS["label-fgsm"](eps=0.3),
        "label-lbfgs": ATTACKS["label-lbfgs"](),
    }
    made = {name: attack(model, pair[0], labels[0], guide=pair[1]) for name, attack in
            attacks.items()}  # fmt: skip
    table = {name: medians(model, train, pair, labels, each.x_adv) for name, each in made.items()}
    assert table["feature"]["guide_ratio"] == pytest.approx(
        made["feature"].info["distance_ratio"].median().item(), abs=0.02
    )
    other = with_orthonormal_weights(model)
    x_adv = attacks["feature"](other, pair[0], labels[0], guide=pair[1]).x_adv
    return table | {"random": medians(other, train, pair, labels, x_adv)}


@pytest.mark.parametrize("other", ["label-fgsm", "label-lbfgs"])
def test_feature_adversaries_are_more_like_their_guides_than_label_adversaries(found, other):
    feature, label = found["feature"], found[other]
    assert feature["guide_ratio"] < 0.85 * label["guide_ratio"]
    assert feature["nearest_ratio"] < 0.85 * label["nearest_ratio"]
    assert feature["likelihood"] > 0.8 * label["likelihood"]
    assert feature["iou_guide"] > label["iou_guide"] + 0.05
    assert feature["rank_adversary"] <= label["rank_adversary"]


def test_they_exist_for_random_weights_too(found):
    assert found["random"]["guide_ratio"] < 0.85
    assert found["random"]["likelihood"] > found["random"]["likelihood_source"]
