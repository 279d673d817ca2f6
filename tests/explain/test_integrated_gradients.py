"""Integrated gradients against a linear model, the axiom of completeness, and captum."""

import pytest
import torch
from torch import nn

from explain.gradient.integrated_gradients import IntegratedGradients, integrated_gradients


def small_cnn():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3)
    ).requires_grad_(False)


X, Y = torch.rand(3, 3, 7, 7, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 2, 1])


@pytest.mark.parametrize("baseline", [0.0, 0.4])
def test_of_a_linear_model_it_is_weight_times_the_way_from_the_baseline(linear, baseline):
    model = linear((3, 7, 7))
    expected = (model.of(Y) * (X - baseline)).sum(1).abs().detach()
    maps = IntegratedGradients(baseline=baseline, steps=3)(model, X, Y)
    torch.testing.assert_close(maps, expected)


def test_the_attributions_sum_to_the_change_of_the_logit():
    model, said = small_cnn(), []
    found = integrated_gradients(
        model, X, Y, baseline=0.2, steps=300, tell=lambda done, steps: said.append((done, steps))
    )
    change = (model(X) - model(torch.full_like(X, 0.2))).gather(1, Y[:, None])[:, 0]
    torch.testing.assert_close(found.flatten(1).sum(1), change, rtol=1e-2, atol=1e-4)
    assert said == [(step, 300) for step in range(1, 301)]


def test_it_equals_captums():
    captum = pytest.importorskip("captum.attr", reason="captum is not installed")
    model = small_cnn()
    theirs = captum.IntegratedGradients(model).attribute(
        X, baselines=0.3, target=Y, n_steps=9, method="riemann_middle"
    )
    maps = IntegratedGradients(baseline=0.3, steps=9)(model, X, Y)
    torch.testing.assert_close(maps, theirs.sum(1).abs().float(), rtol=1e-4, atol=1e-6)


def test_pixels_that_are_the_baseline_add_nothing():
    x = X.clone()
    x[:, :, 2:5] = 0.5
    maps = IntegratedGradients(baseline=0.5)(small_cnn(), x, Y)
    assert not maps[:, 2:5].any()
    assert maps[:, :2].any()


@pytest.mark.parametrize("options", [{"baseline": 1.5}, {"baseline": -0.1}, {"steps": 0}])
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        IntegratedGradients(**options)
