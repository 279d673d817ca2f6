"""When warnings appear, and that they do not where nothing is wrong."""

import pytest
import torch

from attacks.diagnosis import are_probabilities, is_random, warnings_of, without_slope
from attacks.goal import Goal

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
        (dict(logits=LOGITS[:, :2], goal=Goal(Y, loss="dlr")), "more than 2 classes"),
        (dict(goal=Goal(Y, Y, loss="dlr")), "more than 3 classes"),
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
