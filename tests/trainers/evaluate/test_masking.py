"""Planted gradient masking raises the right warning, and honest classifiers raise none."""

from dataclasses import fields
from typing import Any

import pytest
import torch
from scipy.stats import binomtest
from torch import nn

from attacks import FGSM, PGD, Square
from augment import load_dataset
from trainers import FitOptions, evaluate_attack, fit_classifier
from trainers.evaluate.masking.check_masking import (
    AVERAGE,
    FAILS,
    FLAT,
    FLOW,
    INNER,
    check_masking,
)
from trainers.evaluate.masking.compare_attacks import (
    BLACK,
    ONE_STEP,
    RANDOM,
    TRANSFER,
    compare,
    compare_measured,
)
from trainers.intervals import sign_test
from trainers.run.cli.specs.attacks import build_attack

EPS = 0.1
SAMPLES = 30
OPTIONS = {f.name for f in fields(PGD)}  # EOT and BPDA may not be there yet


def fit(method: str, **options: Any) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
    given = FitOptions(epochs=8, batch_size=64, lr=1e-2, method=method, **options)
    fit_classifier(model, load_dataset("digits", "train"), given, seed=0)
    return model.eval()


@pytest.fixture(scope="module")
def honest() -> nn.Module:
    return fit("standard")


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    return fit("fast", train_norm="linf", train_eps=EPS)


@pytest.fixture(scope="module")
def samples() -> tuple[torch.Tensor, torch.Tensor]:
    return load_dataset("digits", "test").stack(range(0, 360, 360 // SAMPLES))


class Planted(nn.Module):
    """A classifier behind changes of its samples and its logits."""

    def __init__(self, model, *, before=None, after=None):
        super().__init__()
        self.model, self.before, self.after = model, before, after

    def forward(self, x):
        x = self.before(x) if self.before else x
        logits = self.model(x)
        return self.after(logits) if self.after else logits


class Purifies(nn.Module):
    """Moves each sample towards a sure answer, by gradients of its own, before it answers."""

    def __init__(self, model, how):
        super().__init__()
        self.model, self.how = model, how

    def forward(self, x):
        with torch.enable_grad():
            z = x.detach().clone().requires_grad_()
            doubt = -self.model(z).log_softmax(1).amax(1).sum()
            if self.how == "grad":
                (gradient,) = torch.autograd.grad(doubt, z)
            else:
                doubt.backward()
                gradient = z.grad
        return self.model(x - 0.1 * gradient.detach())


def dropped(x):
    return nn.functional.dropout(x, 0.3, training=True)


PLANTS = {
    "scale": lambda m: Planted(m, after=lambda z: z * 1e4),
    "rounding": lambda m: Planted(m, before=lambda x: (x * 8).round() / 8),
    "rounded logits": lambda m: Planted(m, after=torch.round),
    "noise": lambda m: Planted(m, before=lambda x: x + 0.1 * torch.randn_like(x)),
    "dropout": lambda m: Planted(m, before=dropped),
    "optimises": lambda m: Purifies(m, "grad"),
    "optimises by backward": lambda m: Purifies(m, "backward"),
    "detached": lambda m: Planted(m, after=torch.Tensor.detach),
}
RIGHT = {
    "scale": {"zero gradients", "accuracy at eps 1", "black box beats white box"},
    "rounding": {"zero gradients", "accuracy at eps 1", "black box beats white box"},
    "rounded logits": {"zero gradients", "accuracy at eps 1"},
    "noise": {"randomness"},
    "dropout": {"randomness"},
    "optimises": {"optimisation at inference"},
    "optimises by backward": {"optimisation at inference"},
    "detached": {"no gradient"},
}
NEXT = {
    "scale": "loss=margin",
    "rounding": "bpda=identity",
    "rounded logits": "bpda=identity",
    "noise": "eot=20",
    "dropout": "version=rand",
    "optimises": "bpda=identity",
    "optimises by backward": "bpda=identity",
    "detached": "bpda=identity",
}


def signs(model, samples, **options):
    x, y = samples
    found = check_masking(model, x, y, eps=EPS, queries=100, **options)
    return {check.check: check for check in found if check.sign}


@pytest.mark.parametrize("plant", PLANTS)
def test_planted_masking_raises_the_right_warning(plant, honest, samples):
    found = signs(PLANTS[plant](honest).eval(), samples)
    assert found.keys() >= RIGHT[plant]
    assert found.keys() <= {*RIGHT[plant], "black box beats white box"}
    for name in RIGHT[plant]:
        text = str(found[name])
        assert text.startswith(f"sign of gradient masking, {name}: ")
        assert "run" in found[name].advice
    assert any(NEXT[plant] in check.advice for check in found.values())


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("kind", ["honest", "trained"])
def test_honest_classifiers_raise_none(kind, norm, samples, request):
    x, y = samples
    model = request.getfixturevalue(kind)
    found = check_masking(model, x, y, norm=norm, eps=EPS if norm == "linf" else 1.0, queries=100)
    assert [str(check) for check in found if check.sign] == []
    assert len(found) == 7


def test_a_sure_but_honest_classifier_raises_none(honest, samples):
    """Ten times the logits, as of a classifier that is fitted for long: sure, and no mask."""
    assert signs(Planted(honest, after=lambda z: 10 * z).eval(), samples) == {}


def test_batches_and_ids_change_nothing(honest, samples):
    x, y = samples
    whole = check_masking(honest, x, y, eps=EPS, queries=20)
    assert check_masking(honest, x, y, eps=EPS, queries=20, batch_size=7) == whole
    steps = []
    check_masking(honest, x[:3], y[:3], queries=5, progress=lambda *done: steps.append(done))
    done = [at for at, of in steps if of == 600]
    assert done == sorted(set(done))
    assert {100 * i for i in range(1, 7)} <= set(done)  # six probes of a batch each
    assert len(done) > 30  # and what each of them tells


def test_nobody_right_is_nothing_to_check(honest, samples):
    x, _ = samples
    (check,) = check_masking(honest, x, (honest(x).argmax(1) + 1) % 10)
    assert (check.sign, check.seen) == (False, f"none of {len(x)} is right: nothing to check")


@pytest.mark.parametrize(("more", "less"), [(0, 0), (7, 0), (12, 3), (3, 12), (400, 350)])
def test_the_sign_test_is_scipy_s(more, less):
    if more + less:
        wanted = binomtest(more, more + less, alternative="greater").pvalue
        assert sign_test(more, less) == pytest.approx(wanted, rel=1e-9)
    else:
        assert sign_test(more, less) == 1


def test_a_comparison_says_numbers_and_needs_more_than_chance():
    strong = torch.arange(100) < 40
    few, many = (torch.arange(100) < n for n in (44, 52))
    check = compare(BLACK, {"square": few}, {"pgd": strong})
    assert not check.sign
    assert "square fooled 44 and pgd 40 of 100 samples; 4 the former alone, 0 the latter" in (
        check.seen
    )
    check = compare(BLACK, {"square": many}, {"pgd": strong})
    assert check.sign
    assert "12 the former alone, 0 the latter alone (chance 0.00024" in check.seen


def test_attacks_that_were_measured_are_compared_by_budget(honest):
    ds = load_dataset("digits", "test", samples=40)
    attacks = {
        "pgd": PGD(eps=EPS, steps=5),
        "square": Square(eps=EPS, queries=100),
        "fgsm": FGSM(eps=EPS),
        "far": Square(eps=0.3, queries=20),
    }
    for model, wanted in ((honest, []), (PLANTS["rounding"](honest), ["black box"])):
        results = {n: evaluate_attack(a, model, ds, seed=0) for n, a in attacks.items()}
        found = compare_measured(attacks, results)
        assert [c.check.split(" beats")[0] for c in found] == ["black box", "one step"]
        assert [c.check.split(" beats")[0] for c in found if c.sign] == wanted


ADVICE = [
    *(kind[1] for kind in (BLACK, ONE_STEP, RANDOM, TRANSFER)),
    AVERAGE, FAILS, FLAT, FLOW, INNER,
]  # fmt: skip


@pytest.mark.parametrize("advice", ADVICE)
def test_the_attacks_that_are_advised_can_be_named(advice):
    texts = advice.partition("--attacks ")[2].split()
    assert texts
    for text in texts:
        if "eot" in OPTIONS or not ("bpda" in text or "eot" in text or "rand" in text):
            assert build_attack(text, defaults={"eps": EPS})
