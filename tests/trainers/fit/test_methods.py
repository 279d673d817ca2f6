"""Each training method beside its formula, written out on a linear model, and its bookkeeping."""

import copy
from typing import get_args

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from attacks import PGD
from augment import Dataset, load_dataset
from trainers import FitOptions, FitState, evaluate_attack, fit_classifier, load_classifier
from trainers.fit.methods import METHODS
from trainers.fit.methods.mart import boosted_cross_entropy
from trainers.fit.methods.method import TrainingStep
from trainers.run.cli.methods import PERTURBING, USERS, MethodName

EPS = 0.1


def batch(samples=12, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.rand(samples, 1, 4, 4, generator=g) * 0.5 + 0.25  # far from the ends of the range
    return x, torch.randint(0, 3, (samples,), generator=g)


def linear(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3))


def with_norm(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3),
        nn.Linear(16, 3),
    )  # fmt: skip


class Seen(list):
    """What goes through a module, by the mode it was in."""

    def __init__(self, model):
        super().__init__()
        model.register_forward_pre_hook(self.note)

    def note(self, module, args):
        self.append((module.training, args[0].detach().clone()))

    def outer(self):
        return [x for training, x in self if training]


def step(model, method, x, y, seed=3, **options):
    """Logits and loss of a method, and what the model was given."""
    model.train()
    seen = Seen(model)
    chosen = FitOptions(method=method, **{"train_eps": EPS} | options)
    generator = torch.Generator().manual_seed(seed)
    training = TrainingStep(model, model, chosen, generator)
    x_adv = METHODS[method].perturb(training, x, y)
    logits, loss = METHODS[method].loss(training, x, x_adv, y)
    return logits, loss, seen


def weights_gradient(model, loss):
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, model.parameters())])


def probabilities(model, x):
    _, layer = model
    scores = x.flatten(1) @ layer.weight.T + layer.bias
    return scores.exp() / scores.exp().sum(1, keepdim=True)


def minus_log_label(p, y):
    return -torch.stack([row[label].log() for row, label in zip(p, y, strict=True)])


def kl(p, q):
    return (p * (p / q).log()).sum(1)


def by_hand(method, model, x, x_adv, y):
    """The loss from its formula, in probabilities."""
    p, q = probabilities(model, x), probabilities(model, x_adv)
    if method in ("pgd-at", "fast", "free", "ensemble", "standard", "bank"):
        return minus_log_label(q, y).mean()
    if method == "trades":
        return minus_log_label(p, y).mean() + 6 * kl(p, q).mean()
    own = p[torch.arange(len(y)), y]
    rivals = torch.stack(
        [max(v for k, v in enumerate(r) if k != c) for r, c in zip(q, y.tolist(), strict=True)]
    )
    boosted = minus_log_label(q, y) - (1 - rivals).log()
    return (boosted + 5 * kl(p, q) * (1 - own)).mean()


@pytest.mark.parametrize("method", METHODS)
def test_the_loss_and_its_gradient_are_those_of_the_formula(method):
    (x, y), model = batch(), linear()
    logits, loss, seen = step(model, method, x, y)
    x_adv = seen.outer()[-1]
    expected = by_hand(method, model, x, x_adv, y)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(logits.softmax(1), probabilities(model, x_adv))
    torch.testing.assert_close(
        weights_gradient(model, loss), weights_gradient(model, expected), rtol=1e-4, atol=1e-5
    )


def cross_entropy_slope(model, x, y):
    """The gradient in x of the cross-entropy of a linear model: W^T (p - e_y)."""
    _, layer = model
    error = probabilities(model, x) - nn.functional.one_hot(y, 3)
    return (error @ layer.weight).reshape(x.shape).detach()


def divergence_slope(model, x, x_adv):
    """The gradient in x_adv of KL(p || q): W^T (q - p)."""
    _, layer = model
    error = probabilities(model, x_adv) - probabilities(model, x)
    return (error @ layer.weight).reshape(x.shape).detach()


@pytest.mark.parametrize(
    ("method", "steps", "size", "noise"),
    [
        ("pgd-at", 7, 2.5 * EPS / 7, "uniform"),
        ("trades", 10, 2.5 * EPS / 10, "normal"),
        ("mart", 10, 2.5 * EPS / 10, "normal"),
        ("fast", 1, 1.25 * EPS, "uniform"),
        ("ensemble", 1, EPS, None),
    ],
)
def test_the_perturbed_samples_are_those_of_the_algorithm(method, steps, size, noise):
    (x, y), model = batch(), linear()
    _, _, seen = step(model, method, x, y)
    g = torch.Generator().manual_seed(3)
    if noise is None:
        x_adv = x
    elif noise == "uniform":
        x_adv = x + EPS * torch.stack([torch.rand(1, 4, 4, generator=g) * 2 - 1 for _ in x])
    else:
        x_adv = x + 1e-3 * torch.stack([torch.randn(1, 4, 4, generator=g) for _ in x])
    for _ in range(steps):
        slope = (
            divergence_slope(model, x, x_adv)
            if method == "trades"
            else cross_entropy_slope(model, x_adv, y)
        )
        x_adv = torch.clamp(x_adv + size * slope.sign(), x - EPS, x + EPS)
    torch.testing.assert_close(seen.outer()[-1], x_adv, rtol=0, atol=1e-5)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("method", PERTURBING)
def test_perturbed_samples_stay_in_the_ball_and_the_range(method, norm):
    x, y = batch()
    x = (x * 4 - 1.5).clamp(0, 1)  # many values at the ends of the range
    eps = {"linf": 0.1, "l2": 0.7, "l1": 2.0}[norm]
    _, _, seen = step(with_norm(), method, x, y, train_norm=norm, train_eps=eps)
    delta = (seen.outer()[-1] - x).flatten(1)
    size = delta.norm(p={"linf": torch.inf, "l2": 2, "l1": 1}[norm], dim=1)
    assert float(size.max()) <= eps * (1 + 1e-5)
    assert float(size.max()) > 0.5 * eps or method == "free"  # whose first step moves nothing
    assert all(float(seen_x.min()) >= 0 and float(seen_x.max()) <= 1 for _, seen_x in seen)


@pytest.mark.parametrize("method", METHODS)
def test_batch_norm_changes_as_by_the_outer_passes_alone(method):
    (x, y), model = batch(), with_norm()
    twin = copy.deepcopy(model)
    _, loss, seen = step(model, method, x, y)
    loss.backward()
    outer = seen.outer()
    assert len(outer) == (2 if method in ("trades", "mart") else 1)
    if len(outer) == 2 or method in ("standard", "bank", "free"):
        assert torch.equal(outer[0], x)
    for each in outer:
        twin.train()(each)
    for name, buffer in twin.named_buffers():
        assert torch.equal(buffer, dict(model.named_buffers())[name]), name
    assert all(module.training for module in model.modules())
    assert all(p.requires_grad and p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("method", [name for name in PERTURBING if name != "free"])
def test_flags_and_gradients_are_put_back_after_an_error(method):
    (x, y), model = batch(), with_norm()
    model[0].weight.requires_grad_(False)
    model.train()
    model[1].eval()  # as users freeze a norm

    def broken(module, args):
        raise RuntimeError("broken")

    model[3].register_forward_pre_hook(broken)
    training = TrainingStep(model, model, FitOptions(method=method), torch.Generator())
    with pytest.raises(RuntimeError, match="broken"):
        METHODS[method].perturb(training, x, y)
    assert [m.training for m in model] == [True, False, True, True, True, True]
    asking = [p.requires_grad for p in model.parameters()]
    assert asking == [False] + [True] * (len(asking) - 1)


def test_mart_is_finite_where_a_wrong_class_is_certain():
    logits = torch.tensor([[0.0, 200.0, -3.0], [500.0, 0.0, 0.0]], requires_grad=True)
    loss = boosted_cross_entropy(logits, torch.tensor([0, 0]))
    assert loss.tolist() == pytest.approx([200 + 200, 0.0], abs=0.1)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert bool(torch.isfinite(gradient).all())


def toy(samples=70):
    x, _ = batch(samples)
    y = torch.arange(samples) % 3
    x[torch.arange(samples), 0, 0, y] = 1.0
    return Dataset(x, y, list(map(str, range(samples))), name="toy", classes=list("abc"))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bf16", [False, True])
def test_resuming_after_any_epoch_gives_the_same_bits(method, bf16):
    share = {"clean_share": 0.2} if method in USERS["clean_share"] else {}
    options = FitOptions(
        epochs=3, batch_size=16, method=method, train_eps=EPS, ema=0.9, bf16=bf16, **share
    )
    states: list[FitState] = []
    whole = with_norm()
    result = fit_classifier(whole, toy(), options, seed=5, on_epoch=states.append)
    for state in states:
        resumed = with_norm(seed=1)
        torch.manual_seed(state.epoch)
        again = fit_classifier(resumed, toy(), options, seed=5, state=state)
        ours, theirs = resumed.state_dict(), whole.state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
        assert [r["loss"] for r in again.history] == [r["loss"] for r in result.history]


@pytest.mark.parametrize("method", PERTURBING)
def test_the_seed_decides_about_the_noise(method):
    models = [linear() for _ in range(3)]
    options = FitOptions(epochs=1, batch_size=70, method=method, train_eps=EPS)
    for model, seed, other in zip(models, (1, 1, 2), (7, 8, 9), strict=True):
        torch.manual_seed(other)
        before = torch.get_rng_state()
        fit_classifier(model, toy(), options, seed=seed)
        assert torch.equal(torch.get_rng_state(), before)
    first, again, third = (model[1].weight for model in models)
    assert torch.equal(first, again)
    assert not torch.equal(first, third)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_a_reentrant_checkpoint_takes_part():
    class Net(nn.Module):
        def __init__(self, saving):
            super().__init__()
            self.body, self.saving = linear(), saving

        def forward(self, x):
            return checkpoint(self.body, x, use_reentrant=True) if self.saving else self.body(x)

    fitted = []
    for saving in (False, True):
        net = Net(saving)
        options = FitOptions(epochs=2, batch_size=16, method="trades", train_eps=EPS)
        fit_classifier(net, toy(), options, seed=0)
        fitted.append(net.body[1].weight)
    assert torch.equal(*fitted)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "fat"}, "method is 'fat'; give one of 'standard', 'bank', 'pgd-at'"),
        ({"method": "fast", "beta": 3.0}, "no use for it; leave it out, or take trades or mart"),
        ({"train_steps": 3}, "train_steps is 3, and the method standard has no use for it"),
        ({"method": "fast", "train_steps": 3}, "the method fast has no use for it"),
        ({"method": "mart", "label_smoothing": 0.1}, "label_smoothing is 0.1, and the method mart"),
        ({"method": "bank", "clean_share": 0.5}, "or take pgd-at or trades"),
        ({"awp": 1.0}, "awp is 1.0"),
        ({"method": "fast", "clean_share": 1.0}, "clean_share is 1.0"),
        ({"method": "fast", "train_eps": 8.0}, "write 8 of 255 as 8/255"),
        ({"method": "fast", "train_norm": "l7"}, "train_norm is 'l7'"),
        ({"method": "trades", "beta": -1.0}, "beta is -1.0"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        FitOptions(**options)


def test_every_method_has_its_name():
    assert tuple(METHODS) == get_args(MethodName)
    assert {name for names in USERS.values() for name in names} == set(METHODS)


@pytest.fixture(scope="module")
def robust_accuracy():
    train = load_dataset("digits", "train", samples=400)
    test = load_dataset("digits", "test", samples=200)

    def measure(method):
        torch.manual_seed(0)
        model = load_classifier("smallcnn", in_channels=1)
        options = FitOptions(epochs=2, batch_size=32, method=method, train_eps=EPS)
        fit_classifier(model, train, options, seed=0)
        attack = PGD(eps=EPS, steps=10, early_stop=True)
        return evaluate_attack(attack, model, test, batch_size=200, seed=0).robust_accuracy

    return {method: measure(method) for method in METHODS}


@pytest.mark.slow
@pytest.mark.parametrize("method", [name for name in PERTURBING if name != "ensemble"])
def test_it_makes_digits_more_robust_than_standard_training(method, robust_accuracy):
    assert robust_accuracy[method] > robust_accuracy["standard"] + 0.1
