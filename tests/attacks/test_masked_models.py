"""Planted masked models: plain PGD leaves them, a warning names the remedy, the remedy finds them.

Digits and small networks; robust accuracies at linf 0.1 are over all 360 test samples, and over 30
passes where a model is random. "Open" is the same classifier without what masks its gradient.

    python -m pytest -s tests/attacks/test_masked_models.py

prints all of them.
"""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from attacks import APGD, PGD
from augment import load_dataset
from trainers.run.cli.specs.attacks import build_attack

EPS, POINTS = 0.1, 0.02


def as_masked(fit, change):
    """Return a fitted classifier behind a change of its input."""
    return nn.Sequential(change, fit)


class Change(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Dropout(nn.Module):
    """Dropout at test, too, unless it is told otherwise."""

    on = True

    def forward(self, x):
        return F.dropout(x, 0.5, training=self.on)


def shattered(x):
    """Add a thousandth of a fast wave whose phase is random: the gradient is mostly noise."""
    return x + 1e-3 * torch.sin(5e3 * x + 2 * torch.pi * torch.rand_like(x))


def eight_bits(x):
    return (x * 255).to(torch.uint8).float() / 255


def in_numpy(x):
    return torch.from_numpy((x.detach().numpy() * 255).round() / 255)


def fitted(model, x, y):
    """Fit with the gradients of single batches, enough for digits."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    for _ in range(150):
        rows = torch.randint(len(x), (256,), generator=generator)
        (F.cross_entropy(model(x[rows]), y[rows])).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


@pytest.fixture(scope="module")
def digits():
    return [
        data.stack(range(len(data)))
        for data in (load_dataset("digits", split) for split in ("train", "test"))
    ]


def perceptron(*first):
    torch.manual_seed(0)
    return nn.Sequential(*first, nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))


@pytest.fixture(scope="module")
def open_(digits):
    with torch.random.fork_rng():
        return fitted(perceptron(), *digits[0])


@pytest.fixture(scope="module")
def dropping(digits):
    with torch.random.fork_rng():
        return fitted(perceptron(Dropout()), *digits[0])


def robust(attack, model, digits, *, passes=1):
    """The robust accuracy that fresh passes find, and the warnings."""
    x, y = digits[1]
    result = attack(model, x, y)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(1)
        right = [(model(result.x_adv).argmax(1) == y).float().mean() for _ in range(passes)]
    accuracy, asked = float(torch.stack(right).mean()), (attack.loss, attack.eot, attack.bpda)
    print(f"\n{type(attack).__name__} {asked}: {accuracy:.3f}", end="")
    return accuracy, " ".join(result.info.get("warnings", []))


def remedy(warning, pattern):
    """The option that a warning names."""
    (found,) = re.findall(pattern, warning)
    return found


def test_rounding_warns_and_falls_to_bpda(open_, digits):
    model = as_masked(open_, Change(lambda x: (x * 255).round() / 255))
    plain, warning = robust(PGD(eps=EPS), model, digits)
    named = build_attack(
        f"pgd:eps={EPS}," + remedy(warning, r"give (bpda=\w+) if the model rounds")
    )
    ours, silence = robust(named, model, digits)
    reference, _ = robust(PGD(eps=EPS), open_, digits)
    assert plain > 0.9
    assert ours <= reference + POINTS, (ours, reference)
    assert silence == ""


@pytest.mark.parametrize("function", [eight_bits, in_numpy], ids=["casts", "numpy"])
def test_a_layer_without_any_gradient_is_refused_and_falls_to_bpda(open_, digits, function):
    model = as_masked(open_, Change(function))
    with pytest.raises(ValueError, match="bpda=identity") as error:
        robust(PGD(eps=EPS), model, digits)
    named = build_attack(
        f"pgd:eps={EPS}," + remedy(str(error.value), r"give the attack (bpda=\w+)")
    )
    ours, _ = robust(named, model, digits)
    reference, _ = robust(PGD(eps=EPS), open_, digits)
    assert ours <= reference + POINTS, (ours, reference)


@pytest.mark.parametrize(("model", "passes"), [("shattered", 60), ("dropping", 20)])
def test_random_models_warn_and_fall_to_eot(open_, dropping, digits, model, passes):
    if model == "shattered":
        masked, bare = as_masked(open_, Change(shattered)), open_
    else:
        masked = bare = dropping
    plain, warning = robust(PGD(eps=EPS), masked, digits, passes=30)
    assert remedy(warning, r"the model is random: .* attack it with (eot=\d+)") == "eot=20"
    ours, silence = robust(build_attack(f"pgd:eps={EPS},eot={passes}"), masked, digits, passes=30)
    Dropout.on = False
    try:
        reference, _ = robust(PGD(eps=EPS), bare, digits)
    finally:
        Dropout.on = True
    assert plain > reference + 0.1, (plain, reference)
    assert ours <= reference + POINTS, (ours, reference)
    assert silence == ""


def test_huge_logits_warn_and_fall_to_a_loss_that_no_scale_changes(open_, digits):
    model = nn.Sequential(open_, Change(lambda logits: 1e5 * logits))
    plain, warning = robust(PGD(eps=EPS), model, digits)
    named = remedy(warning, r"(loss=\w+) if its logits are large")
    reference, _ = robust(APGD(eps=EPS, steps=20, loss="dlr"), open_, digits)
    assert plain > 0.9
    for attack in (f"pgd:eps={EPS},{named}", f"apgd:eps={EPS},steps=20,{named}"):
        ours, silence = robust(build_attack(attack), model, digits)
        assert ours <= reference + POINTS, (ours, reference)
        assert silence == ""


@pytest.mark.slow
def test_all_of_it_at_once_falls_to_all_remedies_at_once(open_, digits):
    layers = Change(lambda x: (x * 255).round() / 255), Change(shattered)
    model = nn.Sequential(*layers, open_, Change(lambda logits: 1e5 * logits))
    attack = build_attack(f"pgd:eps={EPS},eot=60,bpda=identity,loss=dlr")
    ours, silence = robust(attack, model, digits, passes=5)
    reference, _ = robust(PGD(eps=EPS, loss="dlr"), open_, digits)
    assert ours <= reference + POINTS, (ours, reference)
    assert silence == ""
