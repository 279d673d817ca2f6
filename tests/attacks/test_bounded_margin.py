"""The bounded margin loss against hand computations."""

import math

import pytest
import torch

from attacks import Flicker
from attacks.common.goal import Goal
from attacks.video.flicker_loss import bounded_margin

Y = torch.tensor([0])
LOSS = dict(margin=0.05)


def scores(*values):
    return torch.tensor([values], dtype=torch.float64).log()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((0.5, 0.3, 0.2), 0.25),  # a line: 0.5 - 0.3 + 0.05
        ((0.37, 0.35, 0.28), 0.07),
        ((0.35, 0.37, 0.28), 0.03**2 / 0.05),  # a parabola: l = -0.02 + 0.05
        ((0.2, 0.25, 0.55), 0.0),  # ahead by more than 0.05
    ],
)
def test_scores_in_its_three_regimes(given, expected):
    loss = bounded_margin(scores(*given), Goal(Y), space="prob", **LOSS)
    assert loss.item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("given", "expected"),
    [((0.5, 0.3, 0.2), 0.35), ((0.36, 0.26, 0.38), 0.03**2 / 0.05), ((0.3, 0.1, 0.6), 0.0)],
)
def test_a_target_is_to_lead_the_best_of_the_others(given, expected):
    goal = Goal(Y, torch.tensor([2]))
    loss = bounded_margin(scores(*given), goal, space="prob", **LOSS)
    assert loss.item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("target", [None, 2])
@pytest.mark.parametrize("given", [(0.6, 0.3, 0.1), (0.34, 0.31, 0.35), (0.1, 0.15, 0.75)])
def test_logits_want_the_margin_that_the_scores_have(given, target):
    low, high = (given[0], max(given[1:])) if target is None else (max(given[:2]), given[2])
    wanted = math.log((low + 0.05) / low)
    short = math.log(low) - math.log(high) + wanted
    expected = max(0, min(short**2 / wanted, short))
    goal = Goal(Y, None if target is None else torch.tensor([target]))
    logits = scores(*given) + 7  # a shift changes nothing
    loss = bounded_margin(logits, goal, space="logit", **LOSS)
    assert loss.item() == pytest.approx(expected, abs=1e-12)


def test_a_class_without_a_score_does_not_want_all_there_is():
    logits = torch.tensor([[-200.0, 0.0, -200.0]])
    goal = Goal(Y, torch.tensor([1]))
    assert bounded_margin(logits, goal, space="logit", **LOSS) == 0  # ahead by log(1 + 5000)


@pytest.mark.parametrize("space", ["prob", "logit"])
@pytest.mark.parametrize("target", [None, torch.tensor([1])])
def test_it_has_no_jump(space, target):
    """Between neighbours 0.001 apart it changes by no more than twice what the lead does."""
    at = torch.linspace(-3, 3, 6001, dtype=torch.float64)
    logits = torch.stack([at, torch.zeros_like(at)], 1)
    goal = Goal(torch.zeros(6001).long(), None if target is None else target.expand(6001))
    loss = bounded_margin(logits, goal, space=space, **LOSS)
    assert loss.diff().abs().max() <= 0.0021
    assert loss.min() == 0
    assert loss.max() > 0.9


@pytest.mark.parametrize("space", ["prob", "logit"])
def test_its_slope_holds_the_margin_constant(space):
    logits = torch.tensor([[0.4, 0.37, -1.0]], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(bounded_margin(logits, Goal(Y), space=space, **LOSS), logits)

    def moved(i, by):
        shifted = logits.detach().clone()
        shifted[0, i] += by
        if space == "prob":
            return bounded_margin(shifted, Goal(Y), space=space, **LOSS).item()
        wanted = math.log1p(0.05 / logits.softmax(1)[0, 0].item())  # where we are, not where to
        short = shifted[0, 0] - shifted[0, 1] + wanted
        return float(min(short**2 / wanted, short))

    expected = [(moved(i, 1e-6) - moved(i, -1e-6)) / 2e-6 for i in range(3)]
    assert slope[0].tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("space", ["prob", "logit"])
def test_negative_logits_hide_no_class(space):
    """Masked with 0 instead of minus infinity, the label itself would count as another class."""
    logits = torch.tensor([[-20.0, -10.0, -30.0]])
    assert bounded_margin(logits, Goal(Y), space=space, **LOSS) == 0


def test_unknown_spaces_and_classes_are_refused():
    with pytest.raises(ValueError, match="space is 'probs'; give one of 'prob', 'logit'"):
        Flicker(space="probs")
    with pytest.raises(ValueError, match="class 3 of a model with 3 classes"):
        bounded_margin(torch.zeros(1, 3), Goal(Y + 3), space="prob", **LOSS)
