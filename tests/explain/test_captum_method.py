"""Captum's attribution classes, called as explanation methods."""

import sys

import pytest
import torch
from torch import nn

from attacks.errors import RefusedInput
from explain.captum_method import CaptumMethod

X, Y = torch.rand(3, 3, 4, 4, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 2, 1])


@pytest.fixture
def captum():
    return pytest.importorskip("captum.attr", reason="captum is not installed")


def small_cnn():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))


EXACT = ["DeepLift", "DeepLiftShap", "InputXGradient", "FeatureAblation", "ShapleyValueSampling"]


@pytest.mark.parametrize("name", [*EXACT, "GradientShap"])
def test_of_a_linear_model_it_is_weight_times_sample(captum, linear, name):
    model = linear((3, 4, 4))
    if name.startswith("DeepLift"):  # whose hooks ask for layers
        weight = model.weight
        model = nn.Sequential(nn.Flatten(), nn.Linear(48, 3, bias=False))
        model[1].weight = weight
    expected = (linear((3, 4, 4)).of(Y) * X).sum(1).abs().detach()
    maps = CaptumMethod(name)(model, X, Y)
    torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 3, 12, 12), (2, 3, 4, 12, 12)])
def test_it_points_at_the_patch_that_the_model_reads(captum, patch, shape):
    x, model = torch.rand(shape), patch()
    maps = CaptumMethod("InputXGradient")(model, x)
    assert (maps > 0).flatten(1).any(1).all()
    assert not maps[:, ~model.mask(x)].any()


@pytest.mark.parametrize("name", ["DeepLift", "GradientShap"])
def test_a_map_does_not_depend_on_its_batch_and_the_model_is_left_alone(captum, name):
    model, state = small_cnn(), torch.get_rng_state()
    whole = CaptumMethod(name)(model, X, Y, seed=1, sample_ids=[5, 6, 7])
    alone = CaptumMethod(name)(model, X[2:], Y[2:], seed=1, sample_ids=[7])
    torch.testing.assert_close(alone[0], whole[2])
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


def test_the_seed_draws_what_captum_draws(captum):
    maps = [CaptumMethod("GradientShap")(small_cnn(), X, Y, seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(maps[0], maps[1])
    assert not torch.equal(maps[0], maps[2])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Occlusion", "'Occlusion', which needs more than a model, samples and classes one by one"),
        ("NoiseTunnel", "which needs more"),
        ("FeaturePermutation", "which needs more than a model, samples and classes one by one"),
        ("LayerGradCam", "which needs more"),
        (
            "GradCam",
            "'GradCam', which captum does not have; give one of .*DeepLift, .*GradientShap",
        ),
        ("", "name is ''"),
    ],
)
def test_classes_that_need_more_are_refused(captum, name, words):
    with pytest.raises(ValueError, match=words):
        CaptumMethod(name)(small_cnn(), X, Y)


def test_without_captum_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(RefusedInput, match="python -m pip install captum"):
        CaptumMethod()(small_cnn(), X, Y)
