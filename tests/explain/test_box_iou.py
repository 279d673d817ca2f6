"""Overlaps of boxes against a count of pixels, and against torchvision."""

import pytest
import torch
from torchvision.ops import box_iou as torchvisions

from explain.gradient.saliency import Saliency
from explain.scores.box_iou import box_iou, boxes_of_masks, localisation_iou, mask_iou


def random_boxes(count, seed):
    generator = torch.Generator().manual_seed(seed)
    low = torch.randint(0, 8, (count, 2), generator=generator)
    return torch.cat([low, low + torch.randint(1, 8, (count, 2), generator=generator)], 1)


def painted(box, size=16):
    mask = torch.zeros(size, size, dtype=torch.bool)
    top, left, bottom, right = box.tolist()
    mask[top:bottom, left:right] = True
    return mask


def test_overlaps_are_torchvisions_and_those_of_a_count_of_pixels():
    first, second = random_boxes(12, 0), random_boxes(9, 1)
    found = box_iou(first, second)
    torch.testing.assert_close(found, torchvisions(first[:, [1, 0, 3, 2]], second[:, [1, 0, 3, 2]]))
    for i, a in enumerate(map(painted, first)):
        for j, b in enumerate(map(painted, second)):
            assert found[i, j].item() == pytest.approx(((a & b).sum() / (a | b).sum()).item())


def test_a_map_of_the_planted_patch_has_the_overlap_1_with_its_box_and_mask(patch):
    model, x = patch(top=3, left=6, side=4), torch.rand(2, 3, 12, 12)
    maps = Saliency()(model, x)
    masks = model.mask(x).expand(2, -1, -1)
    assert torch.equal(localisation_iou(maps, boxes_of_masks(masks), share=0.99), torch.ones(2))
    assert torch.equal(mask_iou(maps, masks, share=0.99), torch.ones(2))


def test_the_largest_box_counts_with_the_box_that_it_overlaps_best():
    maps = torch.zeros(1, 10, 10)
    maps[0, 1:4, 1:4] = 3.0
    maps[0, 7:9, 7:9] = 1.0
    given = torch.tensor([[7, 7, 9, 9], [1, 1, 4, 7], [0, 0, 10, 10]])
    assert localisation_iou(maps, [given], share=1.0).item() == pytest.approx(9 / 18)


def test_all_boxes_together_are_compared_with_a_mask():
    maps = torch.zeros(1, 10, 10)
    maps[0, 0:2, 0:2] = maps[0, 5:7, 5:7] = 1.0
    masks = torch.zeros(1, 10, 10, dtype=torch.bool)
    masks[0, 0:2, 0:4] = True
    assert mask_iou(maps, masks, share=1.0).item() == pytest.approx(4 / 12)


def test_boxes_of_masks_are_those_that_were_painted():
    both = painted(torch.tensor([2, 3, 5, 9])) | painted(torch.tensor([9, 9, 10, 11]))
    masks = torch.stack([both, torch.zeros_like(both)])
    first, second = boxes_of_masks(masks)
    assert first.tolist() == [[2, 3, 5, 9], [9, 9, 10, 11]]
    assert second.shape == (0, 4)


def test_without_a_box_the_overlap_is_0():
    empty = torch.zeros(1, 6, 6)
    assert localisation_iou(empty, [torch.tensor([[0, 0, 2, 2]])]).item() == 0
    assert localisation_iou(empty + 1, [torch.zeros(0, 4).long()]).item() == 0
    assert mask_iou(empty, empty.bool()).item() == 0


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="for the boxes of 1 samples"):
        localisation_iou(torch.zeros(2, 4, 4), [torch.zeros(0, 4)])
    with pytest.raises(ValueError, match="masks have shape"):
        mask_iou(torch.zeros(2, 4, 4), torch.zeros(2, 4, 5).bool())
