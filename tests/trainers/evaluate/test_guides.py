"""Guides are samples of other classes, and a sample's own whatever its batch."""

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from attacks import FeatureAdversary
from augment import load_dataset
from trainers import load_classifier
from trainers.evaluate.evaluation import attack_batches, evaluate_attack
from trainers.evaluate.guides import choose_guides

ATTACK = FeatureAdversary(eps=0.1, steps=3)


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits", "test", samples=30)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return load_classifier("smallcnn", in_channels=1)


def test_guides_are_of_another_class_and_depend_on_seed_and_sample_alone(digits):
    y, ids = digits.labels, list(range(len(digits)))
    rows = choose_guides(digits, y, seed=0, ids=ids)
    assert (digits.labels[rows] != y).all()
    assert choose_guides(digits, y[7:9], seed=0, ids=ids[7:9]) == rows[7:9]
    assert choose_guides(digits, y, seed=1, ids=ids) != rows
    assert len(set(rows)) > 10


def test_results_do_not_depend_on_the_batch(digits, model):
    parts = [
        torch.cat([b.result.x_adv for b in attack_batches(ATTACK, model, digits, batch_size=size)])
        for size in (30, 7)
    ]
    moved = (parts[0] - parts[1]).abs().flatten(1).amax(1) > 1e-5
    assert moved.double().mean() < 0.2  # where a rounding turns a sign


def test_a_resume_draws_the_guides_of_the_whole(digits, model):
    whole = [b.result.x_adv for b in attack_batches(ATTACK, model, digits, batch_size=10)]
    (last,) = attack_batches(ATTACK, model, digits, batch_size=10, numbers=[2])
    assert torch.equal(last.result.x_adv, whole[2])


def test_loaders_and_single_classes_are_refused(digits, model):
    x, y = digits.stack(range(8))
    with pytest.raises(ValueError, match="guides are drawn from a Dataset of augment"):
        evaluate_attack(ATTACK, model, DataLoader(TensorDataset(x, y), batch_size=4))
    same = digits.subset(torch.nonzero(digits.labels == 3).flatten().tolist())
    with pytest.raises(ValueError, match="are of class 3, and a guide is to be of another"):
        evaluate_attack(ATTACK, model, same)
