"""The blur mask against SciPy's blur, torch's Adam on one sample at a time, and a planted patch."""

import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter1d
from torch import nn

from explain.black_box.blur_mask import MeaningfulPerturbation, total_variation
from explain.gaussian_blur import gaussian_blur

ONES = torch.ones(2, dtype=torch.int64)


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def small_cnn():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(54, 3)
    ).requires_grad_(False)


class Watched(nn.Module):
    """Notes what it is given."""

    def __init__(self):
        super().__init__()
        self.model, self.seen = small_cnn(), []

    def forward(self, x):
        self.seen.append(x.detach())
        return self.model(x)


@pytest.mark.parametrize("shape", [(2, 3, 9, 12), (2, 3, 4, 9, 12)])
@pytest.mark.parametrize("sigma", [0.4, 1.5, 6.0])
def test_the_blur_is_scipys(shape, sigma):
    x, reach = random(*shape), -int(-3 * sigma // 1)
    expected = x.numpy()
    for axis in (-2, -1):
        expected = gaussian_filter1d(expected, sigma, axis=axis, mode="nearest", radius=reach)
    torch.testing.assert_close(gaussian_blur(x, sigma=sigma), torch.from_numpy(expected))


def test_the_total_variation_is_the_mean_cube_of_differences():
    mask = torch.tensor([[[[0.0, 1.0], [0.5, 0.5]]], [[[0.3, 0.3], [0.3, 0.3]]]])
    expected = torch.tensor([(1 + 2 * 0.5**3) / 4, 0])
    torch.testing.assert_close(total_variation(mask), expected)


def test_it_is_adam_on_the_papers_objective():
    options = MeaningfulPerturbation(
        steps=12, lr=0.05, grid=4, area=0.3, tv=2.0, blur=0.2, jitter=0.0
    )
    model, x, y = small_cnn(), random(2, 3, 10, 12), torch.tensor([2, 0])
    maps = options(model, x, y)
    for i in range(2):
        blurred = gaussian_blur(x[i], sigma=0.2 * 10)
        mask = torch.full((4, 4), 0.5, requires_grad=True)
        adam = torch.optim.Adam([mask], lr=0.05)
        for _ in range(12):
            adam.zero_grad()
            large = F.interpolate(mask[None, None], (10, 12), mode="bilinear")[0]
            share = model((large * x[i] + (1 - large) * blurred)[None]).softmax(1)[0, y[i]]
            tv = sum(mask.diff(dim=d).abs().pow(3).sum() for d in (0, 1)) / 16
            (share + 0.3 * (1 - mask).mean() + 2.0 * tv).backward()
            adam.step()
            mask.data.clamp_(0, 1)
        expected = 1 - F.interpolate(mask[None, None], (10, 12), mode="bilinear")[0, 0].detach()
        torch.testing.assert_close(maps[i], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("shape", [(2, 3, 12, 12), (2, 3, 4, 12, 12)])
def test_nothing_but_the_patch_is_worth_its_blur(patch, shape):
    model = patch(frames=(1, 3) if len(shape) == 5 else None)
    x = 0.2 * random(*shape) + 0.8 * model.mask(random(*shape))
    maps = MeaningfulPerturbation(steps=60, grid=12, tv=0.0, blur=0.5, jitter=0.0)(model, x, ONES)
    inside = model.mask(x)
    assert (maps[:, inside] > 0.5).all()
    assert not maps[:, ~inside].any()


def test_where_area_costs_more_than_the_class_nothing_is_blurred():
    x = random(2, 3, 12, 12)
    assert not MeaningfulPerturbation(steps=60, area=20.0)(small_cnn(), x).any()
    assert MeaningfulPerturbation(steps=60, area=0.0, tv=0.0)(small_cnn(), x).amax() > 0.9


def test_total_variation_makes_masks_smooth():
    x = random(2, 3, 12, 12)
    rough, smooth = (
        MeaningfulPerturbation(steps=40, grid=12, area=0.0, tv=tv)(small_cnn(), x)[:, None]
        for tv in (0.0, 100.0)
    )
    assert (total_variation(smooth) < 0.5 * total_variation(rough)).all()


def test_jitter_moves_each_sample_by_a_share_of_its_sides():
    model, x = Watched(), random(2, 3, 8, 12)
    # So little blur changes nothing, whatever the mask.
    options = MeaningfulPerturbation(steps=30, blur=1e-3, jitter=0.25)
    options(model, x, ONES, sample_ids=[4, 5])
    padded, found = F.pad(x, (3, 3, 2, 2), mode="replicate"), []
    for seen in model.seen[-30:]:  # before, the call asks what the samples themselves are
        for i in range(2):
            found += [
                (i, down, right)
                for down in range(5)
                for right in range(7)
                if torch.allclose(padded[i, :, down : down + 8, right : right + 12], seen[i])
            ]
    assert len(found) == 60
    assert {down for _, down, _ in found} == set(range(5))
    assert {right for _, _, right in found} == set(range(7))
    assert found[:30] != found[30:]  # each sample moves by itself


def test_the_seed_draws_the_jitter_alone():
    x = random(2, 3, 12, 12)
    for jitter, alike in ((0.0, True), (0.2, False)):
        method = MeaningfulPerturbation(steps=5, jitter=jitter)
        first, second = (method(small_cnn(), x, seed=seed, sample_ids=[1, 2]) for seed in (0, 1))
        assert torch.equal(first, second) == alike


@pytest.mark.parametrize(
    "options", [{"steps": 0}, {"lr": 0.0}, {"area": -1.0}, {"tv": -1.0}, {"blur": 0}, {"jitter": 1}]
)
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        MeaningfulPerturbation(**options)


def test_a_model_that_lets_no_gradient_through_is_refused():
    class Detached(Watched):
        def forward(self, x):
            return super().forward(x.detach())

    with pytest.raises(ValueError, match="logits carry no gradient"):
        MeaningfulPerturbation(steps=2)(Detached(), random(2, 3, 12, 12))
