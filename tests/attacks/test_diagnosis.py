"""When warnings appear, and that they do not where nothing is wrong."""

import pytest
import torch

from attacks import BIM, FGSM, MIFGSM, PGD
from attacks.common.forward import is_random
from attacks.common.goal import Goal, are_probabilities, warnings_of, without_slope

FINE = torch.ones(3, dtype=torch.bool)
LOGITS = torch.tensor([[0.5, 2.0, -1.0]]).expand(3, -1)
Y = torch.tensor([0, 1, 2])


def test_nothing_wrong_says_nothing():
    assert warnings_of(Goal(Y), LOGITS, finite=FINE, stuck=~FINE) == {}
    assert warnings_of(Goal(Y, loss="dlr"), LOGITS, finite=FINE) == {}


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        (dict(finite=torch.tensor([True, False, False])), "2 of 3 samples gave non-finite logits"),
        (dict(stuck=torch.tensor([True, False, False])), "1 of 3 samples met a zero"),
        (dict(logits=LOGITS.softmax(1)), "probabilities"),
        (dict(random=True), "two forward passes"),
        (dict(logits=LOGITS[:, :2], goal=Goal(Y, loss="dlr")), "on 2 classes"),
        (dict(goal=Goal(Y, Y, loss="dlr")), "on 3 classes"),
    ],
)
def test_each_trouble_has_its_sentence(changes, word):
    given = dict(goal=Goal(Y), logits=LOGITS, finite=FINE) | changes
    (text,) = warnings_of(given.pop("goal"), given.pop("logits"), **given)["warnings"]
    assert word in text


def test_log_probabilities_and_single_rows_of_probabilities_are_logits():
    assert are_probabilities(LOGITS.softmax(1))
    assert not are_probabilities(LOGITS.log_softmax(1))
    assert not are_probabilities(torch.cat([LOGITS.softmax(1), LOGITS]))
    assert not are_probabilities(torch.full((2, 3), torch.nan))


def test_a_gradient_of_zeros_or_without_end_has_no_slope():
    gradient = torch.zeros(4, 1, 1, 2)
    gradient[0, 0, 0, 1] = 1e-40
    gradient[2], gradient[3] = torch.nan, torch.inf
    assert without_slope(gradient).tolist() == [False, True, True, True]


def test_randomness_is_told_from_rounding(net, batch):
    x, _ = batch()
    assert is_random(net().train(), x)  # dropout
    assert not is_random(net().eval(), x)
    assert not is_random(lambda x: net()(x).detach() * torch.nan, x)
    noise = torch.Generator().manual_seed(0)
    for size, seen in ((1e-6, False), (1e-2, True)):

        def noisy(x, size=size):
            return 1 + size * torch.randn(len(x), 3, generator=noise)

        assert is_random(noisy, x) == seen


class Wrapped(torch.nn.Module):
    """A model whose logits go through a function."""

    def __init__(self, model, change):
        super().__init__()
        self.model, self.change = model, change

    def forward(self, x):
        return self.change(self.model(x))


def warned(case, model, batch):
    x, y = batch()
    return " ".join(case.attack()(model, x, y).info.get("warnings", []))


def test_a_model_of_probabilities_is_reported(ball_case, net, batch):
    model = Wrapped(net(), lambda logits: logits.softmax(1))
    assert "probabilities" in warned(ball_case, model, batch)


def test_a_random_model_is_reported(ball_case, net, batch):
    model = Wrapped(net(), lambda logits: logits + 0.1 * torch.randn_like(logits))
    assert "random" in warned(ball_case, model, batch)


STEPPERS = [
    lambda: FGSM(),
    lambda: BIM(norm="l2", eps=0.2),
    lambda: MIFGSM(loss="margin"),
    lambda: PGD(norm="l1", eps=1.0, early_stop=True),
]


@pytest.mark.parametrize("make", STEPPERS, ids=["fgsm", "bim", "mifgsm", "pgd"])
def test_a_gradient_that_vanishes_is_reported_for_the_unfooled(make, net, batch):
    """Rounded logits are flat everywhere; samples with wrong labels need no slope."""
    x, _ = batch(12)
    model = Wrapped(net().eval(), torch.round)
    y = model(x).argmax(1)
    y[:5] = (y[:5] + 1) % 4
    (warning,) = make()(model, x, y).info["warnings"]
    assert "7 of 12 samples met a zero or non-finite gradient" in warning


def test_a_saturated_cross_entropy_is_reported_and_the_margin_helps(net, batch):
    x, _ = batch(12)
    model = Wrapped(net().eval(), lambda logits: logits * 1e4)
    y = model(x).argmax(1)
    stuck, free = (PGD(loss=loss, random_start=False)(model, x, y) for loss in ("ce", "margin"))
    assert "12 of 12 samples met a zero" in stuck.info["warnings"][0]
    assert not stuck.success.any()
    assert free.info == {}
    assert free.success.any()
