"""Inversion against closed forms of linear representations, and slow NumPy."""

import numpy as np
import pytest
import torch
from torch import nn

from explain.inversion.invert import Inversion
from explain.inversion.priors import alpha_norm, total_variation

FREE = Inversion(layer="0.1", alpha_weight=0, tv_weight=0)


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def linear_net(size, outputs, *, orthogonal=False):
    """Layer "0.1" is a matrix; logits behind it."""
    torch.manual_seed(0)
    matrix = nn.Linear(size, outputs, bias=False)
    if orthogonal:
        nn.init.orthogonal_(matrix.weight)
    return nn.Sequential(nn.Sequential(nn.Flatten(), matrix), nn.ReLU(), nn.Linear(outputs, 3))


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 1, 3, 4, 4)])
def test_a_representation_that_keeps_all_is_inverted_to_the_sample_itself(shape):
    x = random(*shape)
    model = linear_net(x[0].numel(), x[0].numel(), orthogonal=True)
    found = FREE(model, x)
    torch.testing.assert_close(found.images, x, atol=2e-3, rtol=0)
    assert (found.error < 1e-5).all()


def test_with_total_variation_it_is_the_solution_of_the_normal_equations():
    """The objective is quadratic where the alpha norm is left out."""
    size, weight, x = 16, 0.02, 0.4 + 0.2 * random(2, 1, 4, 4)
    model = linear_net(size, 6)
    found = Inversion(layer="0.1", steps=800, alpha_weight=0, tv_weight=weight)(model, x)
    matrix = model[0][1].weight.detach().double().numpy()
    steps = []
    for row in range(4):
        for column in range(4):
            for other in ((row + 1, column), (row, column + 1)):
                if max(other) < 4:
                    step = np.zeros((4, 4))
                    step[row, column], step[other] = -1, 1
                    steps.append(4 * step.ravel())
    smooth = np.stack(steps).T @ np.stack(steps) / size
    for sample, image, error in zip(x, found.images, found.error, strict=True):
        wanted = matrix @ sample.double().numpy().ravel()
        whole = matrix.T @ matrix / (wanted @ wanted) + weight * smooth
        solution = np.linalg.solve(whole, matrix.T @ wanted / (wanted @ wanted))
        np.testing.assert_allclose(image.numpy().ravel(), solution, atol=2e-3)
        miss = matrix @ solution - wanted
        assert error.item() == pytest.approx(miss @ miss / (wanted @ wanted), rel=0.1)


def test_the_alpha_norm_draws_values_to_grey_as_its_equation_says():
    """With exponent 2 and a representation that keeps all, each value has its own equation."""
    x, weight = random(2, 1, 4, 4), 0.5
    method = Inversion(layer="0.1", alpha=2, alpha_weight=weight, tv_weight=0)
    found = method(linear_net(16, 16, orthogonal=True), x).images
    pull = 4 * weight / 16 * x.square().sum((1, 2, 3), keepdim=True)
    torch.testing.assert_close(found, (x + pull / 2) / (1 + pull), atol=2e-3, rtol=0)


def test_what_the_layer_does_not_see_comes_out_grey_and_smooth(patch):
    model, x = patch(top=2, left=5, side=4), random(2, 3, 12, 12) / 2
    mask = model.mask(x)
    found = Inversion(layer="seen", tv_weight=1e-5, alpha_weight=1e-3)(model, x).images
    torch.testing.assert_close(found[..., mask], x[..., mask], atol=0.03, rtol=0)
    assert found[..., ~mask].std() < 0.1
    plain = Inversion(layer="seen", tv_weight=0, alpha_weight=0)(model, x).images
    torch.testing.assert_close(plain[..., ~mask], torch.full_like(plain[..., ~mask], 0.5),
                               atol=0.06, rtol=0)  # fmt: skip


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 1, 3, 4, 5)])
def test_the_priors_are_those_of_a_slow_loop(shape):
    x = random(*shape)
    for i, sample in enumerate(x.double().numpy()):
        wanted = np.mean(np.abs(2 * sample - 1) ** 6)
        assert alpha_norm(x, alpha=6)[i].item() == pytest.approx(wanted, rel=1e-5)
        for beta in (1, 2, 3.5):
            total = 0.0
            for at in np.ndindex(sample.shape):
                square = 0.0
                for axis in range(1, sample.ndim):
                    after = list(at)
                    after[axis] += 1
                    if after[axis] < sample.shape[axis]:
                        square += (sample[tuple(after)] - sample[at]) ** 2
                total += (4 * square**0.5) ** beta
            found = total_variation(x, beta=beta)[i].item()
            assert found == pytest.approx(total / sample.size, rel=1e-4)


def test_the_slope_is_that_of_the_picture_however_fine_its_grid():
    fine = torch.linspace(0, 1, 400).expand(1, 1, 400, 400)
    coarse = torch.linspace(0, 1, 40).expand(1, 1, 40, 40)
    values = [total_variation(x, beta=2) for x in (fine, coarse)]
    torch.testing.assert_close(*values, rtol=0.03, atol=0)


@pytest.mark.parametrize("beta", [1.0, 1.5, 2.0])
def test_a_flat_image_has_a_finite_gradient(beta):
    x = torch.full((1, 1, 4, 4), 0.5, requires_grad=True)
    (gradient,) = torch.autograd.grad(total_variation(x, beta=beta).sum(), x)
    assert gradient.isfinite().all()


def conv_net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(),
                         nn.Flatten(), nn.Linear(64, 3))  # fmt: skip


def test_a_sample_does_not_depend_on_its_batch_and_the_seed_decides():
    model, x = conv_net(), random(5, 3, 6, 6)
    method = Inversion(layer="2", steps=20, jitter=1)
    whole = method(model, x, seed=3)
    parts = Inversion(layer="2", steps=20, jitter=1, chunk=2)(model, x, seed=3)
    torch.testing.assert_close(parts.images, whole.images, atol=1e-4, rtol=0)
    torch.testing.assert_close(parts.error, whole.error, atol=1e-4, rtol=0)
    alone = method(model, x[3:4], seed=3)
    torch.testing.assert_close(alone.images, whole.images[3:4], atol=1e-4, rtol=0)
    assert not torch.allclose(method(model, x, seed=4).images, whole.images, atol=1e-3)


def test_the_model_and_the_samples_stay_as_they_were():
    model, x = conv_net().train(), random(2, 3, 6, 6)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    given, told = x.clone(), []
    Inversion(layer="2", steps=3, chunk=1)(model, x, progress=lambda *at: told.append(at))
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in before)
    assert model.training
    assert torch.equal(x, given)
    assert told == [(i + 1, 6) for i in range(6)]


class Recorder(nn.Module):
    """Keeps what it is shown; its outputs are the values."""

    def __init__(self):
        super().__init__()
        self.shown = []

    def forward(self, x):
        self.shown.append(x.detach().clone())
        return x.flatten(1)


def test_jitter_moves_what_the_layer_sees_along_height_and_width_alone():
    model = nn.Sequential(Recorder(), nn.Linear(2 * 5 * 6, 3))
    x = random(1, 1, 2, 5, 6)
    Inversion(layer="0", steps=40, step_size=1e-9, alpha_weight=0, tv_weight=0, jitter=2)(model, x)
    start, seen = model[0].shown[-1], []  # the last is the image as it is: steps are tiny
    for shown in model[0].shown[-41:-1]:
        for down in range(-2, 3):
            for right in range(-2, 3):
                rows = np.clip(np.arange(5) + down, 0, 4)
                columns = np.clip(np.arange(6) + right, 0, 5)
                if torch.allclose(shown, start[..., rows, :][..., columns], atol=1e-6):
                    seen.append((down, right))
    assert len(seen) == 40
    assert {down for down, _ in seen} == {right for _, right in seen} == {-2, -1, 0, 1, 2}


def test_several_layers_and_the_last_hidden_one_can_be_named():
    model, x = conv_net(), random(2, 3, 6, 6)
    both = Inversion(layer="0+2", steps=150)(model, x)
    assert (both.error < 0.3).all()
    unnamed, named = (Inversion(layer=layer, steps=3)(model, x) for layer in (None, "4"))
    assert torch.equal(unnamed.images, named.images)


@pytest.mark.parametrize(("layer", "words"), [
    ("nowhere", "layer is 'nowhere'"), ("1", "carries no gradient"),
])  # fmt: skip
def test_layers_that_cannot_be_inverted_are_refused(layer, words):
    class Blind(nn.Module):
        def forward(self, x):
            return x.detach().flatten(1)

    model = nn.Sequential(nn.Identity(), Blind(), nn.Linear(108, 2))
    with pytest.raises(ValueError, match=words):
        Inversion(layer=layer, steps=2)(model, random(1, 3, 6, 6))


@pytest.mark.parametrize("options", [{"alpha": 0.5}, {"beta": 0.9}, {"jitter": -1}, {"steps": 0}])
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Inversion(**options)
