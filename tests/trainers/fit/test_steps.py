"""Whole fits beside loops written out: free, ensemble, weight perturbation, samples that stay."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from attacks import FGSM, PGD
from augment import Dataset, MixedDataset, SampleBank, load_dataset
from trainers import FitOptions, evaluate_attack, fit_classifier, load_classifier

EPS, LR = 0.1, 0.5


def data(samples=12, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.rand(samples, 1, 4, 4, generator=g) * 0.5 + 0.25
    y = torch.arange(samples) % 3
    return Dataset(x, y, list(map(str, range(samples))), name="toy", classes=list("abc"))


def linear(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3))


def plain(method, **options):
    """SGD with neither momentum nor decay, at a constant rate but for the cosine of one epoch."""
    usual = {
        "optimizer": "sgd", "lr": LR, "momentum": 0.0, "weight_decay": 0.0, "warmup": 0.0,
        "train_eps": EPS, "epochs": 1, "batch_size": 6,
    }  # fmt: skip
    return FitOptions(method=method, **usual | options)


class Watched(nn.Module):
    """A classifier that notes what it is fitted on."""

    def __init__(self, seed=0):
        super().__init__()
        self.net, self.seen = linear(seed), []

    def forward(self, x):
        if self.training:
            self.seen.append(x.detach().clone())
        return self.net(x)


def gradient_by_hand(weight, bias, x, y):
    """Gradients of the mean cross-entropy of a linear model: in the weight, the bias and x."""
    scores = x.flatten(1) @ weight.T + bias
    error = (torch.softmax(scores, 1) - nn.functional.one_hot(y, 3)) / len(x)
    return error.T @ x.flatten(1), error.sum(0), (error @ weight).reshape(x.shape)


def test_free_moves_weights_and_samples_by_one_gradient():
    train, model, options = data(), Watched(), plain("free", train_steps=3)
    weight, bias = model.net[1].weight.detach().clone(), model.net[1].bias.detach().clone()
    fit_classifier(model, train, options, seed=4)
    assert len(model.seen) == 6  # two batches, three steps each
    x, y = train.stack(range(len(train)))
    delta, first = torch.zeros(6, 1, 4, 4), model.seen[0]  # nothing is carried at first
    rows = [int((x == each).flatten(1).all(1).nonzero()) for each in first]
    rows = [rows, [i for i in range(12) if i not in rows]]
    second = model.seen[3]  # the order of the second batch: the nearest originals
    rows[1] = torch.cdist(second.flatten(1), x.flatten(1), p=torch.inf).argmin(1).tolist()
    for step in range(6):
        batch = rows[step // 3]
        low, high = (x[batch] - EPS).clamp(0, 1), (x[batch] + EPS).clamp(0, 1)
        x_adv = torch.clamp(x[batch] + delta, low, high)
        torch.testing.assert_close(model.seen[step], x_adv, rtol=0, atol=1e-6)
        by_weight, by_bias, by_x = gradient_by_hand(weight, bias, x_adv, y[batch])
        delta = torch.clamp(x_adv + EPS * by_x.sign(), low, high) - x[batch]
        rate = options.rate(step, 6)
        weight, bias = weight - rate * by_weight, bias - rate * by_bias
    torch.testing.assert_close(model.net[1].weight, weight, rtol=1e-4, atol=1e-6)


def test_ensemble_takes_turns_among_the_classifiers():
    train, static = data(600), [linear(seed=1), linear(seed=2)]
    before = copy.deepcopy([each.state_dict() for each in static])
    model = Watched()
    options = plain("ensemble", batch_size=20, lr=1e-9, clean_share=0.0)  # the own one stays
    fit_classifier(model, train, options, seed=4, static=static)
    x, y = train.stack(range(len(train)))
    turns = []
    candidates = [FGSM(eps=EPS)(each, x, y).x_adv for each in (model.net, *static)]
    for batch in model.seen:
        rows = torch.cdist(batch.flatten(1), x.flatten(1), p=torch.inf).argmin(1)
        fits = [float((batch - each[rows]).abs().max()) < 1e-5 for each in candidates]
        assert sum(fits) == 1
        turns.append(fits.index(True))
    assert all(turns.count(i) >= 3 for i in range(3))
    for each, weights in zip(static, before, strict=True):
        assert all(torch.equal(weights[name], t) for name, t in each.state_dict().items())


def test_half_of_a_batch_of_the_ensemble_stays_clean():
    train, model = data(), Watched()
    fit_classifier(model, train, plain("ensemble"), seed=0)
    x, _ = train.stack(range(len(train)))
    for batch in model.seen:
        same = [bool((x == each).flatten(1).all(1).any()) for each in batch]
        assert same == [True] * 3 + [False] * 3


@pytest.mark.parametrize("method", ["pgd-at", "fast", "trades", "free"])
def test_a_share_of_the_batch_stays_clean(method):
    train, model = data(), Watched()
    fit_classifier(model, train, plain(method, batch_size=12, clean_share=0.3, lr=1e-9), seed=0)
    x, _ = train.stack(range(len(train)))
    same = [bool((x == each).flatten(1).all(1).any()) for each in model.seen[-1]]
    assert same == [True] * 3 + [False] * 9


@pytest.mark.parametrize("method", ["bank", "pgd-at", "fast", "trades", "mart", "free"])
def test_samples_of_a_bank_are_fitted_as_they_are(method, tmp_path):
    train, bank = data(), SampleBank(tmp_path)
    stored = torch.full((4, 1, 4, 4), 0.9)
    common = {"round": 1, "attack": "pgd", "seed": 0, "loss": 0.0}
    sizes = {"linf": 0.0, "l2": 0.0, "l1": 0.0}
    bank.append(
        "round001", stored,
        [{"source": str(i), "label": i % 3, **common, **sizes} for i in range(4)],
    )  # fmt: skip
    bank.set_status(range(4), "accepted")
    model = Watched()
    options = plain(method, batch_size=16, lr=1e-9)
    fit_classifier(model, MixedDataset(train, bank), options, seed=0)
    x, _ = train.stack(range(len(train)))
    last = model.seen[-1]
    kept = (last - stored[0]).flatten(1).abs().amax(1) < 1e-3  # stored as half floats
    assert int(kept.sum()) == 4
    moved = torch.cdist(last[~kept].flatten(1), x.flatten(1), p=torch.inf).amin(1)
    assert bool((moved > 1e-4).all()) == (method != "bank")
    assert float(moved.max()) <= EPS + 1e-6


@pytest.mark.parametrize("method", ["standard", "trades"])
def test_weights_are_moved_up_the_loss_for_the_gradient_alone(method):
    train, gamma = data(6), 0.2
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(32, 3))
    twin = copy.deepcopy(model).train()
    fit_classifier(model, train, plain(method, awp=gamma, train_eps=1e-9), seed=0)
    x, y = train.stack(range(6))

    def loss():  # with a radius of nothing, the divergence is none
        return cross_entropy(twin(x), y)

    weights = [p for p in twin.parameters() if p.ndim > 1]
    momentum = twin[1].momentum
    twin[1].momentum = 0.0  # the first pass leaves no trace
    slopes = torch.autograd.grad(loss(), weights)
    twin[1].momentum = momentum
    moves = [gamma * w.norm() * g / g.norm() for w, g in zip(weights, slopes, strict=True)]
    with torch.no_grad():
        for w, move in zip(weights, moves, strict=True):
            w.add_(move)
    loss().backward()
    if method == "trades":
        twin(x)  # the perturbed batch is seen as well
    with torch.no_grad():
        for w, move in zip(weights, moves, strict=True):
            w.sub_(move)
        for p in twin.parameters():
            p.sub_(LR * p.grad)
    for (name, ours), theirs in zip(
        model.state_dict().items(), twin.state_dict().values(), strict=True
    ):
        if name != "1.num_batches_tracked":
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5, msg=name)


def test_weights_come_back_after_an_error():
    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.passes = linear(), 0

        def forward(self, x):
            self.passes += 1
            if self.passes == 2:
                raise RuntimeError("broken")
            return self.net(x)

    model = Broken()
    before = model.net[1].weight.detach().clone()
    with pytest.raises(RuntimeError, match="broken"):
        fit_classifier(model, data(), plain("standard", awp=0.1), seed=0)
    assert torch.equal(model.net[1].weight, before)


@pytest.mark.slow
def test_digits_are_more_robust_after_ensemble_training():
    train, test = load_dataset("digits", "train"), load_dataset("digits", "test")
    fitted = {}
    for name, seed, method in (("static", 1, "standard"), ("standard", 0, "standard"),
                               ("ensemble", 0, "ensemble"), ("awp", 0, "ensemble")):  # fmt: skip
        torch.manual_seed(seed)
        fitted[name] = load_classifier("smallcnn", in_channels=1)
        static = [fitted["static"]] if method == "ensemble" else []
        options = FitOptions(
            epochs=1, batch_size=32, method=method, train_eps=EPS, awp=0.005 * (name == "awp")
        )
        fit_classifier(fitted[name], train, options, seed=0, static=static)
    attack = PGD(eps=EPS, steps=10, early_stop=True)
    robust = {
        name: evaluate_attack(attack, model, test, batch_size=360, seed=0).robust_accuracy
        for name, model in fitted.items()
    }
    assert robust["ensemble"] > robust["standard"] + 0.05
    assert robust["awp"] > robust["standard"] + 0.05
