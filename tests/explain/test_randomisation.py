"""The sanity check: edges survive random weights and are flagged, saliency does not."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from explain.gradient.saliency import Saliency
from explain.method import ExplanationMethod
from explain.scores.randomisation import randomisation_check, reinitialised, survives


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class Edges(ExplanationMethod):
    """Looks at the sample alone."""

    def explain(self, call):
        return call.x.mean(1).diff(dim=-1, append=call.x.mean(1)[..., -1:]).abs()


def net(dims=2):
    conv, norm = (nn.Conv2d, nn.BatchNorm2d) if dims == 2 else (nn.Conv3d, nn.BatchNorm3d)
    torch.manual_seed(0)
    layers = [conv(3, 8, 3, padding=1), norm(8), nn.ReLU()]
    for _ in range(8):
        layers += [conv(8, 8, 3, padding=1), norm(8), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * 6**dims, 4))


@pytest.mark.parametrize("dims", [2, 3])
def test_a_map_that_is_blind_to_the_weights_is_flagged_and_saliency_is_not(dims):
    model, x = net(dims), random(4, 3, *[6] * dims)
    y = torch.tensor([0, 1, 2, 3])
    blind = randomisation_check(Edges(), model, x, y)
    assert torch.equal(blind, torch.ones(4))
    assert survives(blind)
    seeing = randomisation_check(Saliency(), model, x, y)
    assert seeing.abs().max() < 0.5
    assert not survives(seeing)


def test_the_weights_are_drawn_anew_and_the_model_is_left_alone():
    model, x = net().train(), random(4, 3, 6, 6)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    fresh = reinitialised(model, x, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    again, other = (reinitialised(model, x, seed=s).state_dict() for s in (1, 2))
    for name, tensor in fresh.state_dict().items():
        assert torch.equal(tensor, again[name])
        if tensor.ndim > 1:
            assert not torch.equal(tensor, other[name])
            assert tensor.var().item() == pytest.approx(2 / tensor[0].numel(), rel=0.4)


def test_batch_norms_take_the_statistics_of_the_samples():
    model, x = net(), random(16, 3, 6, 6)
    fresh = reinitialised(model, x, seed=0)
    usual = {name: m for name, m in fresh.named_modules() if isinstance(m, nn.BatchNorm2d)}
    outputs = x
    with torch.no_grad():
        for name, module in fresh.eval().named_children():
            outputs = module(outputs)
            if name in usual:
                torch.testing.assert_close(
                    outputs.mean((0, 2, 3)), torch.zeros(8), atol=1e-4, rtol=0
                )
                torch.testing.assert_close(
                    outputs.var((0, 2, 3), correction=0), torch.ones(8), atol=1e-2, rtol=0
                )


def test_a_map_without_order_does_not_count():
    nan = torch.nan
    assert not survives(torch.tensor([nan, nan]))
    assert survives(torch.tensor([nan, 0.7]))
    assert not survives(torch.tensor([0.7]), threshold=0.8)
