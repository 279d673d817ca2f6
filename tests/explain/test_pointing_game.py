"""The pointing game on planted patches, with ties, and with distances that SciPy measures."""

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt

from explain.gradient.saliency import Saliency
from explain.scores.pointing_game import grow, pointing_game


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(3, 3, 12, 12), (2, 3, 4, 12, 12)])
def test_saliency_always_points_at_the_patch_that_the_model_reads(patch, shape):
    model, x = patch(), random(*shape)
    masks = model.mask(x).expand(shape[0], *shape[2:])
    assert torch.equal(pointing_game(Saliency()(model, x), masks), torch.ones(shape[0]))


def test_one_maximum_is_a_hit_or_a_miss():
    maps = random(50, 6, 7)
    masks = random(50, 6, 7, seed=1) < 0.4
    places = maps.flatten(1).argmax(1)
    wanted = masks.flatten(1)[torch.arange(50), places].float()
    assert 0 < wanted.mean() < 1
    assert torch.equal(pointing_game(maps, masks), wanted)


def test_of_equal_maxima_each_counts_its_share():
    maps = torch.zeros(2, 2, 2)
    maps[0, 0] = 1.0
    masks = torch.tensor([[True, False], [False, False]]).expand(2, 2, 2)
    assert pointing_game(maps, masks).tolist() == [0.5, 0.25]  # the second map is empty


@pytest.mark.parametrize("by", [1, 1.5, 2, 3.7])
def test_masks_grow_by_the_distance_that_scipy_measures(by):
    masks = random(3, 15, 17) < 0.03
    wanted = np.stack([distance_transform_edt(~mask) <= by for mask in masks.numpy()])
    np.testing.assert_array_equal(grow(masks, by=by), wanted)


def test_the_tolerance_is_inclusive_and_stays_within_a_frame():
    maps, masks = torch.zeros(1, 2, 9, 9), torch.zeros(1, 2, 9, 9, dtype=torch.bool)
    maps[0, 0, 4, 1] = 1.0
    masks[0, 0, 4, 4] = True
    assert pointing_game(maps, masks, tolerance=2.9).item() == 0
    assert pointing_game(maps, masks, tolerance=3).item() == 1
    assert pointing_game(maps, masks.flip(1), tolerance=3).item() == 0


def test_masks_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="masks have shape"):
        pointing_game(random(2, 4, 4), random(2, 4, 5) < 1)
