"""RISE against a slow NumPy loop over the same masks, and what the paper says of the masks."""

import numpy as np
import pytest
import torch
from scipy.ndimage import zoom
from torch import nn

from explain.black_box.rise import RISE, RandomMasks


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def small_cnn(dims=2):
    torch.manual_seed(0)
    conv, pool = (
        (nn.Conv2d, nn.AdaptiveAvgPool2d) if dims == 2 else (nn.Conv3d, nn.AdaptiveAvgPool3d)
    )
    return nn.Sequential(
        conv(3, 6, 3, padding=1), nn.Tanh(), pool(3), nn.Flatten(), nn.Linear(6 * 3**dims, 3)
    ).requires_grad_(False)


@pytest.mark.parametrize("shape", [(2, 3, 9, 11), (2, 3, 5, 8, 8)])
def test_it_is_the_mean_of_masks_weighted_by_probabilities(shape):
    model, x, y = small_cnn(len(shape) - 2), random(*shape), torch.tensor([2, 1])
    maps = RISE(masks=30, grid=3, p=0.4, chunk=7)(model, x, y, seed=5)
    masks = RandomMasks.draw(30, x, grid=3, p=0.4, seed=5).some(0, 30).numpy()
    for i in range(2):
        total = np.zeros(shape[2:])
        for mask in masks:
            logits = model(torch.from_numpy(x[i].numpy() * mask)[None])[0].double().numpy()
            shares = np.exp(logits) / np.exp(logits).sum()
            total += shares[y[i]] * mask
        np.testing.assert_allclose(maps[i].numpy(), total / (30 * 0.4), rtol=1e-5)


@pytest.mark.parametrize("side", [8, 12, 13])
def test_masks_are_coarse_grids_made_larger_and_cropped(side):
    """SciPy makes the grids larger; the crop starts within the first cell."""
    x = torch.zeros(1, 1, side, side)
    masks = RandomMasks.draw(6, x, grid=4, p=0.5, seed=1)
    cell = -(-side // 4)
    assert masks.shifts.shape == (6, 2)
    assert masks.shifts.min() >= 0
    assert masks.shifts.max() < cell
    for cells, (top, left), mask in zip(masks.cells, masks.shifts, masks.some(0, 6), strict=True):
        large = zoom(cells.numpy(), 5 * cell / 4, order=1, mode="nearest", grid_mode=True)
        expected = large[top : top + side, left : left + side]
        np.testing.assert_allclose(mask.numpy(), expected, atol=1e-5)
    torch.testing.assert_close(masks.some(2, 5), masks.some(0, 6)[2:5])


def test_every_pixel_is_shown_with_probability_p():
    masks = RandomMasks.draw(4000, torch.zeros(1, 1, 10, 10), grid=5, p=0.3, seed=0)
    shown = masks.some(0, 4000)
    assert shown.min() >= 0
    assert shown.max() <= 1
    assert (shown.mean(0) - 0.3).abs().max() < 0.03  # four deviations of single cells
    assert (masks.shifts.float().mean(0) - 0.5).abs().max() < 0.05


def test_of_a_model_that_sees_nothing_the_map_is_flat():
    model = nn.Sequential(nn.Flatten(), nn.Linear(300, 4)).requires_grad_(False)
    model[1].weight.zero_()
    model[1].bias.zero_()
    maps = RISE(masks=3000, grid=4, chunk=500)(model, random(1, 3, 10, 10))
    torch.testing.assert_close(maps, torch.full_like(maps, 0.25), rtol=0.1, atol=0)


def test_all_samples_share_the_masks_and_the_seed_draws_them():
    model, x, y = small_cnn(), random(1, 3, 8, 8).expand(2, -1, -1, -1), torch.tensor([1, 1])
    maps = [RISE(masks=10)(model, x, y, seed=seed, sample_ids=[1, 2]) for seed in (0, 1)]
    torch.testing.assert_close(maps[0][0], maps[0][1])
    assert not torch.allclose(maps[0], maps[1])


@pytest.mark.parametrize("options", [{"p": 0.0}, {"p": 1.0}, {"masks": 0}, {"grid": 0}])
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        RISE(**options)
