"""The attack of Carlini and Wagner beyond what every minimum-norm attack owes."""

import pytest
import torch

from attacks import CW


@pytest.fixture
def two_classes(linear):
    """A linear model in float64, samples far from 0 and 1, their labels, gaps and slopes."""
    model = linear(2, gain=0.4, dtype=torch.float64)
    x = 0.5 + 0.05 * torch.rand(5, 3, 6, 6, generator=torch.Generator().manual_seed(4)).double()
    logits = model(x).detach()
    y, gap = logits.argmax(1), (logits[:, 0] - logits[:, 1]).abs()
    weight = model[1].weight.detach()
    return model, x, y, gap, (weight[1 - y] - weight[y]).reshape(x.shape)


def test_a_weight_that_is_too_low_ends_where_the_pulls_balance(two_classes):
    """||d||^2 + c * (gap - <slope, d>) is least at d = c * slope / 2, short of the boundary."""
    model, x, y, gap, slope = two_classes
    exact = gap / slope.square().flatten(1).sum(1)
    c = float(exact.min())  # half of what the nearest sample needs
    result = CW(c=c, steps=200, search_steps=1)(model, x, y)
    assert not result.success.any()
    expected = c / 2 * slope.square().flatten(1).sum(1) - gap
    torch.testing.assert_close(result.history[-1], expected, rtol=1e-3, atol=1e-5)


def test_the_search_raises_a_weight_that_is_too_low(two_classes):
    model, x, y, gap, slope = two_classes
    result = CW(c=1e-4, search_steps=8)(model, x, y)
    assert result.success.all()
    exact = gap / slope.flatten(1).norm(dim=1)
    assert (result.l2 <= 1.03 * exact).all()


def test_more_descents_never_hurt(net, batch):
    x, _ = batch(12)
    model = net().eval()
    y = model(x).argmax(1)
    sizes = [CW(search_steps=n, c=300.0)(model, x, y).l2 for n in (1, 4)]
    assert (sizes[1] <= sizes[0]).all()
    assert sizes[1].mean() < 0.99 * sizes[0].mean()


def test_the_wrong_class_leads_by_the_confidence(two_classes):
    model, x, y, gap, slope = two_classes
    plain, sure = (CW(confidence=k)(model, x, y) for k in (0.0, 2.0))
    logits = model(sure.x_adv).detach()
    lead = (logits.gather(1, 1 - y[:, None]) - logits.gather(1, y[:, None]))[:, 0]
    assert (lead >= 2).all()
    exact = (gap + 2) / slope.flatten(1).norm(dim=1)
    assert (sure.l2 <= 1.01 * exact).all()
    assert (sure.l2 > plain.l2).all()


def test_history_is_the_margin_of_every_step(two_classes):
    model, x, y, *_ = two_classes
    calls = []
    result = CW(steps=3, search_steps=2)(model, x, y, progress=lambda *done: calls.append(done))
    assert result.history.shape == (6, 5)
    assert calls == [(n, 6) for n in range(1, 7)]
    assert result.queries.tolist() == [7] * 5
    torch.testing.assert_close(result.history[0], result.history[3], rtol=1, atol=1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(steps=0), "steps is 0"),
        (dict(search_steps=0), "search_steps is 0"),
        (dict(lr=0.0), "lr is 0.0"),
        (dict(c=-1.0), "c is -1.0"),
        (dict(confidence=-0.1), "confidence is -0.1"),
    ],
)
def test_impossible_options_are_refused_at_once(options, words):
    with pytest.raises(ValueError, match=words):
        CW(**options)
