"""From a map to boxes around what matters, and to a clip's course over time."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import find_objects, label, sum_labels
from torch import Tensor


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels around a connected part of a map.

    Attributes:
        top: first row.
        left: first column.
        bottom: row after the last.
        right: column after the last.
        share: of the whole map's energy, that of the part, in (0, 1].
    """

    top: int
    left: int
    bottom: int
    right: int
    share: float


def energy_mask(maps: Tensor, *, share: float) -> Tensor:
    """Return the smallest sets {value >= threshold} that hold a share of the energy.

    The energy is the sum of squared values. An empty map has an empty set.

    Args:
        maps: (B, ...), at least 0.
        share: of each map's energy, in (0, 1].

    Returns:
        bool, like maps.

    >>> energy_mask(torch.tensor([[3.0, 1.0, 4.0]]), share=0.9)
    tensor([[ True, False,  True]])
    """
    if not 0 < share <= 1:
        raise ValueError(f"share is {share}; give a number in (0, 1]")
    flat = maps.flatten(1).double()
    flat = flat / flat.amax(1, keepdim=True).clamp_min(torch.finfo(flat.dtype).tiny)
    values = flat.sort(1, descending=True).values  # (B, P)
    held = values.square().cumsum(1)
    # A hair less than the share: rounding of the sum must not ask for one value more.
    wanted = held[:, -1:] * share * (1 - 1e-12)
    last = (held < wanted).sum(1, keepdim=True)  # (B, 1), where the share is reached
    threshold = values.gather(1, last.clamp_max(values.shape[1] - 1))
    return ((flat >= threshold) & (flat > 0)).reshape(maps.shape)


def find_boxes(saliency: Tensor, *, share: float = 0.5, least: float = 0.02) -> list[Box]:
    """Return boxes around the connected parts of a map's set of high energy, the largest first.

    Pixels that touch by an edge or a corner are connected.

    Args:
        saliency: a map (H, W), at least 0.
        share: of the map's energy that the set holds, in (0, 1].
        least: share of the map's energy below which a part is dropped.

    Raises:
        ValueError: when the map is not (H, W).

    >>> find_boxes(torch.tensor([[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]]))
    [Box(top=0, left=1, bottom=1, right=3, share=1.0)]
    """
    if saliency.ndim != 2:
        raise ValueError(f"the map has shape {tuple(saliency.shape)}; give (H, W)")
    return find_boxes_by_frame(saliency[None], share=share, least=least)[0]


def find_boxes_by_frame(
    saliency: Tensor, *, share: float = 0.5, least: float = 0.02
) -> list[list[Box]]:
    """Return the boxes of each frame of a video's map; see `find_boxes`.

    The threshold and the shares are of the whole clip, so that a quiet frame has no box.

    Args:
        saliency: a map (T, H, W), at least 0.
        share: of the clip's energy that all sets hold, in (0, 1].
        least: share of the clip's energy below which a part is dropped.

    Raises:
        ValueError: when the map is not (T, H, W).
    """
    if saliency.ndim != 3:
        raise ValueError(f"the map has shape {tuple(saliency.shape)}; give (T, H, W)")
    mask = energy_mask(saliency[None], share=share)[0]  # (T, H, W)
    energy = saliency.double() / saliency.amax().double().clamp_min(1e-300)
    energy = energy.square() / energy.square().sum().clamp_min(1e-300)
    frames = zip(mask.cpu(), energy.cpu(), strict=True)
    return [_boxes(part, shares, least=least) for part, shares in frames]


def _boxes(mask: Tensor, energy: Tensor, *, least: float) -> list[Box]:
    """Return the boxes of a set (H, W), given each pixel's share of the energy (H, W)."""
    parts, count = label(mask.numpy(), structure=np.ones((3, 3)))
    shares = sum_labels(energy.numpy(), parts, range(1, count + 1))
    found = [
        Box(rows.start, columns.start, rows.stop, columns.stop, float(share))
        for (rows, columns), share in zip(find_objects(parts), shares, strict=True)
        if share >= least
    ]
    return sorted(found, key=lambda box: -box.share)


def energy_over_time(maps: Tensor) -> Tensor:
    """Return the share of each frame in the energy of its video's map, (B, T).

    Of an empty map it is 0.

    Args:
        maps: of videos, (B, T, H, W), at least 0.

    Raises:
        ValueError: for other maps.

    >>> energy_over_time(torch.tensor([1.0, 2.0, 2.0]).reshape(1, 3, 1, 1))
    tensor([[0.1111, 0.4444, 0.4444]])
    """
    if maps.ndim != 4:
        raise ValueError(f"maps have shape {tuple(maps.shape)}; give those of videos, (B, T, H, W)")
    tiny = torch.finfo(maps.dtype).tiny
    scaled = maps / maps.amax((1, 2, 3), keepdim=True).clamp_min(tiny)
    energy = scaled.square().sum((2, 3))  # (B, T)
    return energy / energy.sum(1, keepdim=True).clamp_min(tiny)
