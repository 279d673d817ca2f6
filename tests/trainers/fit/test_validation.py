"""Validation under attack: the epoch that is kept, the fit that is ended, and resuming either."""

import copy

import pytest
import torch
from torch import nn

from attacks import PGD
from augment import Dataset, load_dataset
from trainers import FitOptions, FitState, fit_classifier, load_classifier
from trainers.fit.validation import BestEpoch, Validation, fall, samples_to_watch


class Scripted(nn.Module):
    """A classifier of two classes that is right on the first samples, as many as it is told."""

    def __init__(self, right):
        super().__init__()
        self.right = nn.Parameter(torch.tensor(float(right)))

    def forward(self, x):
        place = x[:, 0, 0, 0] * 1000  # the samples are numbered by their first pixel
        yes = 2.0 * (place < self.right - 0.5).float() - 1
        return torch.stack([yes, -yes], 1) + 0 * x.sum((1, 2, 3))[:, None]


def numbered(count):
    x = torch.full((count, 1, 2, 2), 0.5)
    x[:, 0, 0, 0] = torch.arange(count) / 1000
    return Validation(x, torch.zeros(count, dtype=torch.long), PGD(eps=1e-6, steps=1))


def watch(counts, accuracies=None):
    """A BestEpoch that has seen models right on so many samples, and what it says of each."""
    best, history, said = BestEpoch(numbered(64)), [], []
    for epoch, count in enumerate(counts):
        robust = best.see(epoch, Scripted(count))
        assert robust == count / 64
        history.append({"accuracy": accuracies[epoch] if accuracies else 0.5})
        said.append(best.overfitted(history))
    return best, said


@pytest.mark.parametrize(
    ("counts", "kept"),
    [
        ([10, 20, 30], 2),
        ([10, 30, 29], 2),  # one sample is no difference
        ([10, 30, 28], 1),  # two that went and none that came are 1.4 standard errors
        ([10, 30, 25, 20, 15], 1),  # nor does it drift down step by step
        ([30, 29, 28, 29], 3),
    ],
)
def test_the_latest_epoch_that_is_no_worse_is_kept(counts, kept):
    best, _ = watch(counts)
    assert best.epoch == kept
    assert best.weights["right"].item() == counts[kept]


def test_the_difference_is_that_of_the_samples_that_differ():
    before = torch.tensor([True] * 10 + [False] * 10)
    after = torch.tensor([False] * 4 + [True] * 7 + [False] * 9)
    assert fall(before, after) == pytest.approx((4 - 1) / 5**0.5)
    assert fall(after, before) == -fall(before, after)
    assert fall(before, before) == 0


@pytest.mark.parametrize(
    ("counts", "accuracies", "ended"),
    [
        ([20, 22, 2], [0.4, 0.5, 0.9], 2),
        ([20, 22, 0], [0.4, 0.5, 0.45], 2),
        ([20, 22, 2], [0.4, 0.5, 0.1], None),  # nothing is fitted any more: another trouble
        ([20, 22, 12], [0.4, 0.5, 0.9], None),  # robust overfitting, slow
        ([3, 4, 1], [0.4, 0.5, 0.9], None),  # chance
    ],
)
def test_a_sudden_fall_under_a_stronger_attack_ends_the_fit(counts, accuracies, ended):
    _, said = watch(counts, accuracies)
    assert [epoch for epoch, text in enumerate(said) if text] == ([] if ended is None else [ended])
    if ended is not None:
        assert "catastrophic overfitting" in said[ended]
        assert "of 64 validation samples" in said[ended]
        assert "22 were before" in said[ended]


def test_few_samples_are_watched_beside_a_short_epoch():
    val = load_dataset("digits", "val")
    x, y = samples_to_watch(val, fitted=100, device="cpu")
    assert x.shape == (64, 1, 8, 8)
    assert len(y.unique()) == 10
    assert len(samples_to_watch(val, fitted=5000, device="cpu")[1]) == 100
    assert len(samples_to_watch(val, fitted=10**6, device="cpu")[1]) == len(val)


def toy(samples=70):
    g = torch.Generator().manual_seed(0)
    x = torch.rand(samples, 1, 4, 4, generator=g) * 0.5 + 0.25
    y = torch.arange(samples) % 3
    x[torch.arange(samples), 0, 0, y] = 1.0
    return Dataset(x, y, list(map(str, range(samples))), name="toy", classes=list("abc"))


def net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 3))


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_resuming_keeps_the_same_epoch_and_bits(ema):
    train = toy()
    validation = Validation(*train.stack(range(64)), PGD(eps=0.1, steps=2, early_stop=True), 3)
    options = FitOptions(epochs=4, batch_size=16, method="fast", train_eps=0.1, ema=ema, lr=0.3)
    states: list[FitState] = []
    whole = net()
    result = fit_classifier(
        whole, train, options, seed=5, validation=validation, on_epoch=states.append
    )
    assert [record["robust_accuracy"] for record in result.history]
    for state in states:
        resumed = net(seed=1)
        again = fit_classifier(
            resumed, train, options, seed=5, validation=validation, state=copy.deepcopy(state)
        )
        assert again.kept == result.kept
        ours, theirs = resumed.state_dict(), whole.state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_kept_weights_are_those_that_were_measured():
    train = toy()
    validation = Validation(*train.stack(range(64)), PGD(eps=0.1, steps=2, early_stop=True), 3)
    options = FitOptions(epochs=5, batch_size=16, method="fast", train_eps=0.1, ema=0.9, lr=0.3)
    model = net()
    result = fit_classifier(model, train, options, seed=5, validation=validation)
    robust = float(validation.survivors(model).double().mean())
    assert robust == result.history[result.kept]["robust_accuracy"]


@pytest.mark.slow
def test_planted_catastrophic_overfitting_is_caught():
    """One step of two radii at a large radius: PGD breaks all that the step does not find."""
    train, val = load_dataset("digits", "train"), load_dataset("digits", "val")
    torch.manual_seed(0)
    model = load_classifier("smallcnn", in_channels=1)
    options = FitOptions(
        epochs=15, batch_size=64, method="fast", train_eps=0.4, train_step_size=0.8,
        lr=1e-2, weight_decay=0.0,
    )  # fmt: skip
    validation = Validation(*val.stack(range(64)), PGD(eps=0.4, steps=20, early_stop=True))
    result = fit_classifier(model, train, options, seed=0, validation=validation)
    assert result.history[-1]["accuracy"] > 0.5
    assert result.warning is not None
    assert "the method's own attack fails where PGD does not" in result.warning
    options = FitOptions(epochs=3, batch_size=64, method="fast", train_eps=0.1)
    honest = fit_classifier(model, train, options, seed=0, validation=validation)
    assert honest.history[-1]["accuracy"] > 0.5
    assert honest.warning is not None, "it is watched at four times the radius"
    gentle = Validation(validation.x, validation.y, PGD(eps=0.1, steps=20, early_stop=True))
    assert fit_classifier(model, train, options, seed=0, validation=gentle).warning is None
