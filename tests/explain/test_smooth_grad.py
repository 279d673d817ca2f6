"""SmoothGrad against a linear model, saliency, and a slow mean over the same noise."""

import pytest
import torch
from torch import nn

from attacks.common.randomness import generator_for
from explain.gradient.saliency import Saliency
from explain.gradient.smooth_grad import SmoothGrad

X, Y = torch.rand(3, 3, 6, 6, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 2, 1])


def bent():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Softplus(), nn.Flatten(), nn.Linear(64, 3))
    return model.requires_grad_(False)


def test_of_a_linear_model_it_is_the_largest_weight_of_each_pixel(linear):
    model = linear((3, 6, 6))
    torch.testing.assert_close(SmoothGrad()(model, X, Y), model.of(Y).abs().amax(1).detach())


def test_without_noise_it_is_saliency():
    maps = SmoothGrad(samples=3, noise=0.0)(bent(), X, Y)
    torch.testing.assert_close(maps, Saliency()(bent(), X, Y))


def test_it_is_the_mean_over_noise_in_units_of_a_samples_range():
    x = X * torch.tensor([1.0, 0.5, 0.1]).view(3, 1, 1, 1)
    maps = SmoothGrad(samples=4, noise=0.5)(bent(), x, Y, seed=3, sample_ids=[7, 8, 9])
    for i, each in enumerate((7, 8, 9)):
        generator, gradients = generator_for(3, each), []
        spread = 0.5 * (x[i].max() - x[i].min())
        for _ in range(4):
            noisy = (x[i] + spread * torch.randn(3, 6, 6, generator=generator)).requires_grad_()
            bent()(noisy[None])[0, Y[i]].backward()
            gradients.append(noisy.grad)
        torch.testing.assert_close(maps[i], torch.stack(gradients).mean(0).abs().amax(0))


def test_the_seed_changes_the_noise():
    maps = [SmoothGrad(samples=2)(bent(), X, Y, seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(maps[0], maps[1])
    assert not torch.equal(maps[0], maps[2])


@pytest.mark.parametrize("options", [{"noise": -0.1}, {"samples": 0}])
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        SmoothGrad(**options)
