"""How often a model that draws random numbers is recognised, and that no other one is."""

import random
from random import Random

import numpy as np
import pytest
import torch
from torch import nn

from attacks import FGSM, PGD, AutoAttack, Perturbation, Square
from attacks.common.forward import REPEATS, is_random, wrap_forward

SEEDS = 40
# Of models that mirror their input in a share of the passes, AutoAttack's own check (Croce & Hein
# 2020) flags these shares, in five passes of the batch after the clean one.
REFERENCE = {0.1: 0.47, 0.3: 0.87}
SLACK = 0.16  # two standard deviations of a share of 40


class Mirrors(nn.Module):
    """Looks at the mirror image in a share of its passes, or of its samples."""

    def __init__(self, share, *, each=False):
        super().__init__()
        self.share, self.each = share, each
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.net = nn.Sequential(
                nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(),
                nn.Linear(32, 3),
            )  # fmt: skip

    def forward(self, x):
        coins = torch.rand(len(x) if self.each else 1, 1, 1, 1) < self.share
        return self.net(torch.where(coins, x.flip(-1), x))


def flagged(ask, *, share, each=False):
    """The share of seeds with which `ask`, given a model and samples, says "random"."""
    x = torch.rand(8, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    model, hits = Mirrors(share, each=each).eval(), 0
    for seed in range(SEEDS):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            hits += ask(model, x, seed)
    return hits / SEEDS


def says_random(attack, *, wrong=False):
    """Ask an attack; labels that are all wrong let an early stop spare the steps."""

    def ask(model, x, seed):
        with torch.no_grad():
            y = model.net(x).argmin(1) if wrong else torch.zeros(len(x), dtype=torch.int64)
        return "random" in " ".join(attack(model, x, y, seed=seed).info.get("warnings", []))

    return ask


@pytest.mark.parametrize("share", REFERENCE)
def test_autoattack_flags_at_least_what_the_reference_does(share):
    attack = AutoAttack(version="custom", steps=1, targets=1, queries=1)
    assert flagged(says_random(attack), share=share) >= REFERENCE[share]


@pytest.mark.parametrize("share", REFERENCE)
@pytest.mark.parametrize(
    ("ask", "each"),
    [
        (lambda model, x, _: is_random(model, x[:2]), False),
        (lambda model, x, _: is_random(model, x[:2]), True),
        (lambda model, x, _: wrap_forward(model, x)[1], False),
        (lambda model, x, _: wrap_forward(model, x)[1], True),
        (says_random(PGD(early_stop=True), wrong=True), False),
        (says_random(Square(queries=2), wrong=True), False),
        (says_random(Perturbation(torch.zeros(3, 1, 1), "linf", 0.1)), False),
    ],
    ids=["is_random", "is_random-each", "prepared", "prepared-each", "pgd", "square", "fitted"],
)
def test_other_attacks_do_about_as_well(ask, share, each):
    assert flagged(ask, share=share, each=each) >= REFERENCE[share] - SLACK


class Drawing(Mirrors):
    """Draws its coins from a generator of a kind."""

    def __init__(self, share, kind):
        super().__init__(share)
        self.kind = kind
        self.own = {"torch": torch.Generator, "numpy": np.random.default_rng, "python": Random}.get(
            kind.removeprefix("own "), lambda: None
        )()

    def coin(self):
        return {
            "torch": lambda: torch.rand(()).item(),
            "numpy": np.random.rand,
            "python": random.random,
            "own torch": lambda: torch.rand((), generator=self.own).item(),
            "own numpy": lambda: self.own.random(),
            "own python": lambda: self.own.random(),
        }[self.kind]()

    def forward(self, x):
        return self.net(x.flip(-1) if self.coin() < self.share else x)


@pytest.mark.parametrize("own", ["", "own "])
@pytest.mark.parametrize("library", ["torch", "numpy", "python"])
def test_any_generator_makes_the_look_a_long_one(library, own):
    x, model = torch.rand(8, 3, 6, 6), Drawing(0.3, own + library).eval()
    if own and library == "torch":
        model.own.manual_seed(5)
    hits = sum(wrap_forward(model, x)[1] for _ in range(SEEDS))
    assert hits / SEEDS >= REFERENCE[0.3] - SLACK


def test_the_check_costs_what_the_references_does():
    """In all five passes of the batch; those of single attacks are of two samples."""
    sizes = []

    class Counts(nn.Module):
        def forward(self, x):
            sizes.append(len(x))
            return torch.stack([x.flatten(1).sum(1), x.flatten(1).sum(1) * 0 + 1e3], 1)

    x = torch.rand(16, 3, 6, 6)
    AutoAttack(version="custom", steps=1, targets=1, queries=1)(Counts(), x, torch.zeros(16).long())
    assert sizes == [16] * 6  # no sample was right: the check, and the last look
    sizes.clear()
    wrap_forward(Counts(), x)
    assert set(sizes) == {2}
    assert len(sizes) <= 7
    sizes.clear()
    FGSM()(Counts(), x, torch.ones(16).long())
    assert sizes.count(2) <= 3


@pytest.mark.parametrize(("steps", "repeats"), [(1, 1), (3, 2), (9, REPEATS), (200, REPEATS)])
def test_the_look_takes_no_more_than_half_of_the_passes(steps, repeats):
    sizes, model = [], Mirrors(0.0).eval()
    model.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    PGD(steps=steps, early_stop=True)(model, torch.rand(5, 3, 6, 6), torch.zeros(5).long())
    look = 1 + (steps > 1) + repeats  # before so few passes no quicker one is tried
    assert sizes[: look + 1] == [2] * look + [5]


def by_layout(x):
    """Another answer in another memory layout, by more than rounding."""
    return 0.1 * float(x.is_contiguous())


def by_rounding(x):
    return 3e-5 * float(x.is_contiguous())


def by_batch(x):
    return 0.01 * len(x)


class Deterministic(nn.Module):
    def __init__(self, change):
        super().__init__()
        self.change, self.net = change, Mirrors(0.0).net

    def forward(self, x):
        return self.net(x) * (1 + self.change(x))


@pytest.mark.parametrize("change", [by_layout, by_rounding, by_batch])
@pytest.mark.parametrize(
    "dtype", [torch.float32, pytest.param(torch.bfloat16, marks=pytest.mark.slow)]
)
def test_a_deterministic_model_is_never_flagged(any_case, change, dtype, batch):
    if any_case.video:
        pytest.skip("the network is of images")
    x, y = batch(classes=3)
    model = Deterministic(change).eval().to(dtype)
    warnings = " ".join(any_case.attack()(model, x, y).info.get("warnings", []))
    assert "random" not in warnings
