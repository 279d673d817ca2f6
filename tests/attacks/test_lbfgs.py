"""L-BFGS-B with a line search beyond what every minimum-norm attack owes."""

import pytest
import torch

from attacks import CW, LBFGS


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["margin", "ce"])
def test_every_loss_finds_what_others_find(net, batch, loss):
    x, _ = batch(12)
    model = net().eval()
    y = model(x).argmax(1)
    result = LBFGS(loss=loss, steps=40)(model, x, y)
    assert result.success.all()
    assert result.l2.median() <= 1.1 * CW()(model, x, y).l2.median()


def test_the_first_weight_fits_a_linear_model(linear, batch):
    """One descent with it ends on the boundary, two that double it lie beyond."""
    model = linear(2, gain=0.4, dtype=torch.float64)
    x = 0.4 + 0.2 * batch(4, dtype=torch.float64)[0]
    y = model(x).argmax(1)
    two, many = (LBFGS(search_steps=n)(model, x, y) for n in (2, 10))
    assert two.success.all()
    ratio = two.l2 / many.l2
    assert (ratio < 2.01).all()
    assert (many.l2 <= two.l2).all()


def test_queries_are_counted_for_each_sample(net, batch):
    x, _ = batch(5)
    model = net().eval()
    y = model(x).argmax(1)
    y[0] = (y[0] + 1) % 4
    calls = []
    result = LBFGS(steps=5, search_steps=3)(model, x, y, progress=lambda *done: calls.append(done))
    assert result.queries[0] == 1  # wrong from the start
    assert (result.queries[1:] > 6).all()
    assert calls == [(n, 15) for n in range(3, 16)]  # three searches a sample, none of the first


def test_a_region_of_nan_is_walked_around(batch, nan_below, linear):
    """Where the model breaks, the descent turns back and what was found before stays."""
    x = batch(4, dtype=torch.float64)[0]
    model = nan_below(linear(2, gain=0.4, dtype=torch.float64), level=float(x.amax()) - 0.02)
    y = model(x).argmax(1)
    result = LBFGS()(model, x, y)
    finite = torch.isfinite(model(result.x_adv)).all(1)
    assert (finite | ~result.success).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(steps=0), "steps is 0"),
        (dict(search_steps=0), "search_steps is 0"),
        (dict(loss="dlr"), "loss is 'dlr'; give one of 'margin', 'ce'"),
    ],
)
def test_impossible_options_are_refused_at_once(options, words):
    with pytest.raises(ValueError, match=words):
        LBFGS(**options)
