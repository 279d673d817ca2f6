"""Network dissection: which units of a layer are detectors of a concept that people have named?"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attacks.common.frozen import frozen
from explain.network.vectors import outputs_by_batch

VALUES = 2**24  # of unit masks in memory at once


@dataclass(frozen=True)
class Dissection:
    """How well the units of a layer mark each concept.

    Attributes:
        thresholds: of each unit, (U,); its mask is where its activation is at least that.
        iou: intersection over union of masks and concepts over all images, (U, K).
        shares: of all pixels, that each concept is in, (K,).
    """

    thresholds: Tensor
    iou: Tensor
    shares: Tensor

    def detectors(self, *, least: float = 0.04) -> Tensor:
        """Return the concept that each unit detects, int64 (U,); -1 where none exceeds `least`."""
        best = self.iou.max(1)
        return best.indices.where(best.values > least, -1)

    def histogram(self, *, least: float = 0.04) -> Tensor:
        """Return how many units detect each concept, int64 (K,)."""
        found = self.detectors(least=least)
        return torch.bincount(found[found >= 0], minlength=self.iou.shape[1])


def dissect(
    model: nn.Module,
    layer: str,
    batches: Iterable[Sequence[Tensor]],
    *,
    quantile: float = 0.005,
    chunk: int = 32,
) -> Dissection:
    """Compare where the units of a layer are active with where concepts are in images.

    The batches are read three times: to count, for the thresholds, and for the overlaps; the model
    runs in the last two.

    Args:
        model: the classifier; left exactly as it was.
        layer: its name, as `named_modules()` has it.
        batches: (x, masks) each, the same each time: images (B, C, H, W) in [0, 1], and bool
            (B, K, H, W), where K concepts are in them.
        quantile: share of a unit's activations that are at least its threshold.
        chunk: images in a pass, which bounds the memory.

    Raises:
        ValueError: for batches that end with the first look, or a layer without maps.

    Source: Bau et al. 2017, section 2.2; 2.3 for the detectors.
    """
    if iter(batches) is batches:
        raise ValueError("batches end with the first look, and are read three times; give a list")
    count = sum(len(batch[0]) for batch in batches)
    with frozen(model):
        thresholds = _thresholds(model, layer, batches, count, quantile=quantile, chunk=chunk)
        common = union = labelled = torch.zeros(())
        pixels = 0
        for (_, masks), output in outputs_by_batch(model, layer, batches, chunk=chunk):
            found, area = _overlaps(output, thresholds, masks)
            common, union = common + found, union + area - found  # (U, K)
            labelled = labelled + masks.sum((0, 2, 3)).double()  # (K,)
            pixels += masks[:, 0].numel()
    iou = (common / union.clamp_min(1)).float()
    return Dissection(thresholds, iou, (labelled / pixels).float())


def _thresholds(
    model: nn.Module,
    layer: str,
    batches: Iterable[Sequence[Tensor]],
    count: int,
    *,
    quantile: float,
    chunk: int,
) -> Tensor:
    """Return the exact threshold of each unit over `count` images, (U,).

    Only the highest activations are kept, as many as the quantile asks for. A unit whose quantile
    is its lowest activation, as of one that is nearly always 0, is active above it.
    """
    highest = lowest = torch.empty(0)
    for number, (batch, output) in enumerate(outputs_by_batch(model, layer, batches, chunk=chunk)):
        if output.ndim != 4 or batch[1].ndim != 4:
            raise ValueError(
                f"layer {layer!r} returns {tuple(output.shape)} for images with masks "
                f"{tuple(batch[1].shape)}; give a layer with (B, U, H, W) and masks (B, K, H, W)"
            )
        units = output.transpose(0, 1).flatten(1)  # (U, B * H * W)
        kept = max(1, round(quantile * count * output[0, 0].numel()))
        highest = torch.cat([highest, units], 1) if number else units
        highest = highest.topk(min(kept, highest.shape[1]), dim=1).values
        low = units.amin(1)
        lowest = torch.minimum(lowest, low) if number else low
    threshold = highest[:, -1]
    above = threshold.nextafter(torch.full_like(threshold, torch.inf))
    return torch.where(threshold > lowest, threshold, above)


def _overlaps(output: Tensor, thresholds: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Return the intersections of unit and concept masks, and the sums of their areas, (U, K) each.

    Args:
        output: of the layer, (B, U, h, w).
        thresholds: (U,).
        masks: of concepts, bool (B, K, H, W).
    """
    labels = masks.flatten(2).double()  # (B, K, H * W)
    common = labels.new_zeros(output.shape[1], labels.shape[1])
    areas = labels.new_zeros(output.shape[1])
    at_once = max(1, VALUES // labels.shape[2])
    for maps, concepts in zip(output, labels.float(), strict=True):
        reached = (maps.flatten(1).amax(1) >= thresholds).nonzero()[:, 0]  # between places no more
        for units in torch.split(reached, at_once) if len(reached) else ():
            scaled = F.interpolate(maps[None, units], masks.shape[2:], mode="bilinear")[0]
            active = scaled.flatten(1) >= thresholds[units, None]  # (U', H * W)
            common[units] += (active.float() @ concepts.T).double()
            areas[units] += active.sum(1)
    return common, areas[:, None] + labels.sum((0, 2))  # (U, K)
