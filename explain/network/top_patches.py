"""The patches of a data set that activate each unit of a layer most."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attacks.common.frozen import frozen
from explain.network.receptive_field import receptive_fields
from explain.network.vectors import outputs_by_batch

GREY = 0.5  # where a patch goes beyond its sample


@dataclass(frozen=True)
class TopPatches:
    """The highest activations of U units, one a sample, the highest first.

    Attributes:
        values: the activations, (U, k).
        numbers: of the samples in the order of the data set, int64 (U, k).
        boxes: the pixels behind them, int64 (U, k, dims, 2): first and last plus one of rows and
            columns, of videos of frames before them.
        centres: the middle of each activation's place among those of its layer, in pixels of the
            sample, (U, k, dims).
        patches: those pixels, (U, k, C, ...), grey beyond the border of a sample.
    """

    values: Tensor
    numbers: Tensor
    boxes: Tensor
    centres: Tensor
    patches: Tensor


def top_patches(
    model: nn.Module,
    layer: str,
    batches: Iterable[Sequence[Tensor]],
    *,
    k: int = 9,
    units: Sequence[int] | None = None,
    chunk: int = 64,
) -> TopPatches:
    """Find the k samples that activate each unit of a layer most, and where.

    The data set is read once; kept are the samples that are among the highest of some unit. Of
    equal activations, as of many behind a ReLU6, that of the sample with the higher mean comes
    first, and else the earlier sample's. A layer that returns vectors has whole samples for
    patches.

    Args:
        model: the classifier; left exactly as it was.
        layer: its name, as `named_modules()` has it.
        batches: (x, y) each.
        k: patches of each unit; fewer if the data set is smaller.
        units: numbers of the units; None takes all.
        chunk: samples in a pass, which bounds the memory.

    Raises:
        ValueError: for a layer whose outputs are neither maps nor vectors.

    Source: Zeiler & Fergus 2014, section 4.1; Girshick et al. 2014, section 3.1.
    """
    values, means, numbers, places = torch.empty(4, 0, 0).unbind()  # (U, k) each
    samples: dict[int, Tensor] = {}
    seen, sizes = 0, torch.Size()
    with frozen(model):
        for (x, *_), output in outputs_by_batch(model, layer, batches, chunk=chunk):
            if output.ndim not in (2, x.ndim):
                raise ValueError(
                    f"layer {layer!r} returns {tuple(output.shape)} for samples {tuple(x.shape)}; "
                    "name one with maps of the pixels, or vectors"
                )
            chosen = output if units is None else output[:, list(units)]
            flat = chosen.reshape(*chosen.shape[:2], -1)
            best = flat.max(2)  # (B, U)
            own = torch.arange(seen, seen + len(x), device=x.device).expand(best.values.shape[::-1])
            news = (best.values.T, flat.mean(2).T, own, best.indices.T)  # (U, B) each
            olds = (values, means, numbers, places) if seen else [new[:, :0] for new in news]
            values, means, numbers, places = _highest(olds, news, k=k)
            samples |= {seen + row: sample for row, sample in enumerate(x)}
            samples = {number: samples[number] for number in torch.unique(numbers).tolist()}
            seen, sizes = seen + len(x), output.shape[2:]
        if sizes:
            fields = receptive_fields(model, layer, x, chunk=chunk)
        else:  # one place, which sees all
            fields = [torch.tensor([[0, size]]) for size in x.shape[2:]]
    boxes = _boxes(fields, places)
    whole = torch.stack([(field[:, 1] - field[:, 0]).amax() for field in fields])  # (dims,)
    patches = _cut(samples, numbers, boxes, whole)
    return TopPatches(values, numbers, boxes, _centres(fields, places, x.shape[2:]), patches)


def rank_units(
    model: nn.Module, layer: str, batches: Iterable[Sequence[Tensor]], *, chunk: int = 64
) -> Tensor:
    """Return the numbers of a layer's units, that with the highest activation first, int64 (U,).

    Of equal ones, as of many behind a ReLU6, the unit with the higher mean activation comes first.

    Args:
        model: the classifier; left exactly as it was.
        layer: its name; its outputs are (B, U, ...).
        batches: (x, y) each.
        chunk: samples in a pass, which bounds the memory.
    """
    found = []
    with frozen(model):
        for _, output in outputs_by_batch(model, layer, batches, chunk=chunk):
            units = output.transpose(0, 1).flatten(1).cpu()  # (U, ...)
            found.append(torch.stack([units.amax(1).double(), units.double().sum(1)]))
    highest, sums = torch.stack(found).unbind(1)  # (batches, U) each
    return _descending(highest.amax(0), sums.sum(0))


def _descending(values: Tensor, means: Tensor) -> Tensor:
    """Return the order of values (..., N) from the highest; of equal ones by their means."""
    order = means.argsort(dim=-1, descending=True, stable=True)
    again = values.gather(-1, order).argsort(dim=-1, descending=True, stable=True)
    return order.gather(-1, again)


def _highest(olds: Sequence[Tensor], news: Sequence[Tensor], *, k: int) -> list[Tensor]:
    """Return the k highest of each unit's activations, with what goes along, (U, k) each.

    Args:
        olds: activations so far, the means of their samples, these and the places, (U, k) each.
        news: those of further samples, (U, B) each.
        k: how many to keep.
    """
    both = [torch.cat(pair, 1) for pair in zip(olds, news, strict=True)]  # (U, k + B)
    order = _descending(both[0], both[1])[:, :k]
    return [each.gather(1, order) for each in both]


def _boxes(fields: Sequence[Tensor], places: Tensor) -> Tensor:
    """Return the pixels behind places of a layer, int64 (U, k, dims, 2).

    Args:
        fields: of all places along each dimension, (places, 2) each.
        places: numbers in flattened outputs, int64 (U, k).
    """
    index = torch.unravel_index(places.cpu(), [len(field) for field in fields])
    return torch.stack([field[at] for field, at in zip(fields, index, strict=True)], 2)


def _centres(fields: Sequence[Tensor], places: Tensor, pixels: Sequence[int]) -> Tensor:
    """Return the middles of places (U, k) of a layer in pixels of the sample, (U, k, dims)."""
    counts = torch.tensor([len(field) for field in fields])
    index = torch.stack(torch.unravel_index(places.cpu(), counts.tolist()), 2)  # (U, k, dims)
    return (index + 0.5) * torch.tensor(pixels) / counts


def _cut(samples: dict[int, Tensor], numbers: Tensor, boxes: Tensor, whole: Tensor) -> Tensor:
    """Return the pixels of boxes (U, k, dims, 2) of samples by number (U, k), (U, k, C, ...).

    Boxes that are smaller than a whole field (dims,) were cut at the border.
    """
    rows = zip(numbers.flatten().tolist(), boxes.flatten(0, 1), strict=True)
    patches = torch.stack([_patch(samples[number], box, whole) for number, box in rows])
    return patches.reshape(*numbers.shape, *patches.shape[1:])


def _patch(x: Tensor, box: Tensor, whole: Tensor) -> Tensor:
    """Return the pixels of a box (dims, 2) of a sample (C, ...), with grey up to a size (dims,)."""
    inside = x[(slice(None), *(slice(low, high) for low, high in box.tolist()))]
    missing = whole - (box[:, 1] - box[:, 0])
    before = torch.where(box[:, 0] == 0, missing, 0)
    border = torch.stack([before, missing - before], 1).flip(0).flatten().tolist()
    return F.pad(inside, border, value=GREY)
