"""Boxes against a plain loop over thresholds, rectangles that were planted, and NumPy."""

import numpy as np
import pytest
import torch

from explain.gradient.saliency import Saliency
from explain.perturbation.boxes import (
    Box,
    energy_mask,
    energy_over_time,
    find_boxes,
    find_boxes_by_frame,
)


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def smallest_set(values, share):
    """Return the first of the sets {value >= t}, t falling, that holds a share of the squares."""
    for t in sorted(set(values.flatten().tolist()), reverse=True):
        if (values[values >= t] ** 2).sum() >= share * (values**2).sum():
            return values >= t
    raise AssertionError


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 1.0])
def test_the_set_is_the_smallest_that_holds_the_share(share):
    maps = (random(5, 6, 7) * 8).round() / 8  # with ties
    found = energy_mask(maps, share=share)
    for mask, values in zip(found, maps.double().numpy(), strict=True):
        wanted = smallest_set(values, share) & (values > 0)
        np.testing.assert_array_equal(mask.numpy(), wanted)


def test_planted_rectangles_are_found_with_their_shares_largest_first():
    saliency = torch.zeros(20, 30)
    saliency[2:5, 3:9] = 2.0  # energy 72
    saliency[10:14, 20:25] = 3.0  # 180
    assert find_boxes(saliency, share=1.0) == [
        Box(10, 20, 14, 25, share=pytest.approx(180 / 252)),
        Box(2, 3, 5, 9, share=pytest.approx(72 / 252)),
    ]
    assert [box.top for box in find_boxes(saliency, share=0.7)] == [10]


def test_parts_that_touch_at_a_corner_are_one_and_tiny_ones_are_dropped():
    saliency = torch.zeros(8, 8)
    saliency[0, 0] = saliency[1, 1] = 1.0
    saliency[6, 6] = 0.1
    (box,) = find_boxes(saliency, share=1.0)
    assert (box.top, box.left, box.bottom, box.right) == (0, 0, 2, 2)
    assert len(find_boxes(saliency, share=1.0, least=0.001)) == 2


def test_the_patch_that_a_model_reads_gets_the_only_box(patch):
    model, x = patch(top=3, left=6, side=4), random(1, 3, 12, 12)
    (box,) = find_boxes(Saliency()(model, x)[0], share=0.99)
    assert (box.top, box.left, box.bottom, box.right) == (3, 6, 7, 10)
    assert box.share == pytest.approx(1)


def test_the_frames_that_a_model_reads_get_a_box_each_and_all_of_the_energy(patch):
    model, x = patch(frames=(1, 3)), random(1, 3, 5, 12, 12)
    maps = Saliency()(model, x)
    frames = find_boxes_by_frame(maps[0], share=0.99)
    assert [len(boxes) for boxes in frames] == [0, 1, 1, 0, 0]
    assert frames[1][0].share == pytest.approx(0.5)
    torch.testing.assert_close(energy_over_time(maps), torch.tensor([[0, 0.5, 0.5, 0, 0]]))


def test_energy_over_time_is_numpys():
    maps = random(3, 4, 5, 6)
    squares = maps.numpy().astype(float) ** 2
    wanted = squares.sum((2, 3)) / squares.sum((1, 2, 3))[:, None]
    np.testing.assert_allclose(energy_over_time(maps), wanted, rtol=1e-5)


def test_an_empty_map_has_no_boxes_and_no_energy():
    assert find_boxes(torch.zeros(4, 4)) == []
    assert not energy_over_time(torch.zeros(1, 3, 4, 4)).any()


@pytest.mark.parametrize("scale", [2.0**-100, 2.0**100])
def test_the_scale_of_a_map_plays_no_part(scale):
    saliency = random(6, 6)
    assert find_boxes(saliency * scale) == find_boxes(saliency)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match=r"give \(H, W\)"):
        find_boxes(torch.zeros(2, 3, 4))
    with pytest.raises(ValueError, match="those of videos"):
        energy_over_time(torch.zeros(2, 3, 4))
    with pytest.raises(ValueError, match=r"share is 2; give a number in \(0, 1\]"):
        energy_mask(torch.ones(1, 2, 2), share=2)
