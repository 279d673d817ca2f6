"""Saliency against a linear model's weights, a planted patch, and captum."""

import pytest
import torch

from explain.gradient.saliency import Saliency


def test_of_a_linear_model_it_is_the_largest_weight_of_each_pixel(linear):
    x, y = torch.rand(4, 3, 5, 6), torch.tensor([0, 1, 2, 0])
    model = linear((3, 5, 6))
    torch.testing.assert_close(Saliency()(model, x, y), model.of(y).abs().amax(1).detach())


@pytest.mark.parametrize("shape", [(2, 3, 12, 12), (2, 3, 4, 12, 12)])
def test_it_points_at_the_patch_that_the_model_reads(patch, shape):
    x, model = torch.rand(shape), patch()
    maps = Saliency()(model, x)
    assert (maps > 0).flatten(1).any(1).all()
    assert not maps[:, ~model.mask(x)].any()


def test_it_equals_captums(linear):
    captum = pytest.importorskip("captum.attr", reason="captum is not installed")
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten())
    x, y = torch.rand(3, 3, 5, 5), torch.tensor([0, 3, 7])
    theirs = captum.Saliency(model).attribute(x.clone().requires_grad_(), target=y)
    torch.testing.assert_close(Saliency()(model, x, y), theirs.amax(1))
