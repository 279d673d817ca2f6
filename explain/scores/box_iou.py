"""Intersection over union of a map's boxes with those of the object."""

from collections.abc import Sequence

import torch
from torch import Tensor

from explain.perturbation.boxes import find_boxes
from explain.scores.checks import check_alike, check_maps


def box_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return the intersection over union of each pair of boxes, (N, M).

    Args:
        first: (N, 4), rows of (top, left, bottom, right) in pixels; the last two are not inside.
        second: (M, 4), likewise.

    >>> box_iou(torch.tensor([[0, 0, 2, 2]]), torch.tensor([[0, 1, 2, 3], [0, 0, 2, 2]]))
    tensor([[0.3333, 1.0000]])
    """
    low = torch.maximum(first[:, None, :2], second[None, :, :2])  # (N, M, 2)
    high = torch.minimum(first[:, None, 2:], second[None, :, 2:])
    common = (high - low).clamp_min(0).prod(2)  # (N, M)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (first, second)]
    return common / (areas[0][:, None] + areas[1] - common)


def localisation_iou(maps: Tensor, boxes: Sequence[Tensor], *, share: float = 0.5) -> Tensor:
    """Return the best overlap of each map's largest box with the boxes of its object, (B,).

    A sample without boxes, or with an empty map, has 0.

    Args:
        maps: of images, (B, H, W), at least 0.
        boxes: of each sample (N, 4), rows of (top, left, bottom, right) in pixels.
        share: of a map's energy that its boxes are drawn around, in (0, 1].

    Raises:
        ValueError: for maps of videos, or another number of them than of boxes.

    Source: Choe et al. 2020, section 3.3: the largest component, and its best overlap.
    """
    check_maps("maps", maps)
    if maps.ndim != 3 or len(boxes) != len(maps):
        raise ValueError(
            f"maps of shape {tuple(maps.shape)} for the boxes of {len(boxes)} samples; give one "
            "(H, W) for each; of a video's frames, the boxes of each frame"
        )
    found = []
    for saliency, given in zip(maps, boxes, strict=True):
        largest = find_boxes(saliency, share=share)[:1]
        own = torch.tensor([[b.top, b.left, b.bottom, b.right] for b in largest]).reshape(-1, 4)
        overlaps = box_iou(own, given.cpu())  # (1, N), or (0, N)
        found.append(overlaps.amax() if overlaps.numel() else torch.zeros(()))
    return torch.stack(found).to(maps)


def boxes_of_masks(masks: Tensor) -> list[Tensor]:
    """Return the boxes around the connected parts of masks (B, H, W), of each sample (N, 4).

    >>> boxes_of_masks(torch.tensor([[[False, True], [False, False]]]))
    [tensor([[0, 1, 1, 2]])]
    """
    parts = [find_boxes(mask.float(), share=1, least=0) for mask in masks]
    rows = [[[b.top, b.left, b.bottom, b.right] for b in boxes] for boxes in parts]
    return [torch.tensor(row).reshape(-1, 4) for row in rows]


def mask_iou(maps: Tensor, masks: Tensor, *, share: float = 0.5) -> Tensor:
    """Return the overlap of the boxes of each map, taken together, with a mask, (B,).

    Args:
        maps: of images, (B, H, W), at least 0.
        masks: bool, like maps.
        share: of a map's energy that its boxes are drawn around, in (0, 1].

    Raises:
        ValueError: for maps and masks that do not fit each other.
    """
    check_maps("maps", maps)
    check_alike("masks", masks, maps.shape)
    inside = torch.zeros_like(masks, dtype=torch.bool)
    for row, saliency in enumerate(maps):
        for box in find_boxes(saliency, share=share):
            inside[row, box.top : box.bottom, box.left : box.right] = True
    common = (inside & masks).flatten(1).sum(1)
    return common / (inside | masks).flatten(1).sum(1).clamp_min(1)
