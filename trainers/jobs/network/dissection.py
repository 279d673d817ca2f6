"""Which units of a layer detect the concepts of images with masks."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from attacks.common.activations import Representation
from attacks.common.frozen import frozen
from augment.datasets.images.masks import MaskedImages
from explain.network.dissection import Dissection, dissect
from explain.network.top_patches import top_patches
from trainers.jobs.network.setup import NetworkSetup, Row, Shown
from trainers.run.folder.checkpoint import Saved
from trainers.run.show.figures.cells import CellRow, SheetCell, draw_cells
from trainers.run.show.figures.network import detector_chart
from trainers.run.show.plots import to_picture
from trainers.run.show.progress import Progress

LEAST = 0.04  # IoU above which a unit is a detector
SILENT = 0.4  # how much of a pixel's light is left where a unit is not active


def masks_of(setup: NetworkSetup) -> MaskedImages:
    """Return the images with masks, which a run of this part has."""
    assert setup.masked is not None  # else the part is left out or refused
    return setup.masked


@dataclass(frozen=True)
class WatchedImages:
    """Batches of images with masks, with a bar each time they are read."""

    setup: NetworkSetup
    masked: MaskedImages

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images and masks; see `MaskedImages`."""
        total = math.ceil(len(self.masked.images) / self.masked.batch_size)
        with Progress(self.setup.context.folder, "dissection", total=total) as bar:
            for batch in self.masked:
                yield batch
                bar.step()


def find_dissection(setup: NetworkSetup) -> Saved:
    """Return thresholds, IoU and shares, and pictures of the best detectors."""
    masked, size = masks_of(setup), setup.context.batch_size
    found = dissect(setup.context.model, setup.maps.name, WatchedImages(setup, masked), chunk=size)
    detectors = found.detectors(least=LEAST)
    best = found.iou.amax(1).argsort(descending=True, stable=True)
    units = [n for n in best.tolist() if detectors[n] >= 0][: setup.flags.units]
    units = list(setup.flags.unit_numbers) or units
    tensors = {name: value.cpu() for name, value in vars(found).items()}
    tensors["units"] = torch.tensor(units, dtype=torch.int64)
    if units:
        tensors["pictures"] = draw_units(setup, found, units)
    return tensors, None


def draw_units(setup: NetworkSetup, found: Dissection, units: list[int]) -> Tensor:
    """Return for each unit the images that it is most active in, (U, k, 3, H, W) bytes.

    Where it is below its threshold they are dark; the border of its concept is green.
    """
    model, masked = setup.context.model, masks_of(setup)
    size, device = setup.context.batch_size, setup.context.device
    only = ([x] for x, _ in WatchedImages(setup, masked))
    numbers = top_patches(
        model, setup.maps.name, only, k=setup.flags.top, units=units, chunk=size
    ).numbers
    drawn = []
    for unit, row in zip(units, numbers.tolist(), strict=True):
        x, masks = masked.read(row)
        with frozen(model), torch.no_grad():
            (output,) = Representation(model, [setup.maps.name], x.to(device))(x.to(device))
        scaled = F.interpolate(output[:, unit, None], x.shape[2:], mode="bilinear").cpu()
        light = torch.where(scaled >= found.thresholds[unit].cpu(), 1.0, SILENT)  # (k, 1, H, W)
        pictures = (x * light).expand(-1, 3, -1, -1)
        concept = masks[:, int(found.iou[unit].argmax()), None].float()
        inside = -F.max_pool2d(-concept, 3, 1, 1)
        green = torch.tensor([0.0, 1.0, 0.0]).view(3, 1, 1)
        drawn.append(torch.where(concept > inside, green, pictures))
    return (torch.stack(drawn) * 255).round().byte()


def show_dissection(setup: NetworkSetup, saved: Saved) -> Shown:
    """Draw how many units detect each concept and the best of them, and list all units."""
    tensors, concepts = saved[0], masks_of(setup).concepts
    found = Dissection(tensors["thresholds"], tensors["iou"], tensors["shares"])
    counts = found.histogram(least=LEAST).tolist()
    title = (
        f"units of {setup.maps.shown} that detect a concept (IoU above {LEAST:g}): {sum(counts)} "
        f"of {len(found.iou)}"
    )
    chart = detector_chart(dict(zip(concepts, counts, strict=True)), title=title)
    pictures = {"dissection": to_picture(chart)}
    if "pictures" in tensors:
        about = (
            f"units of {setup.maps.shown} in the images that they are most active in\nlight: "
            "where a unit is active; green: the border of the concept's mask"
        )
        pictures["dissection-units"] = draw_cells(unit_rows(setup, saved), title=about)
    facts = {
        "layer": setup.maps.shown,
        "images": len(masks_of(setup).images),
        "units": len(found.iou),
        "detectors": sum(counts),
        "concepts": concept_facts(found, concepts, counts),
    }
    return Shown(facts, pictures, {"dissection": unit_table(found, concepts)})


def unit_rows(setup: NetworkSetup, saved: Saved) -> list[CellRow]:
    """Return the pictures of each unit that is shown."""
    tensors, concepts = saved[0], masks_of(setup).concepts
    rows = []
    for unit, pictures in zip(tensors["units"].tolist(), tensors["pictures"], strict=True):
        best = tensors["iou"][unit].max(0)
        label = f"unit {unit}\n{concepts[int(best.indices)]}\nIoU {float(best.values):.3f}"
        rows.append(CellRow(label, [SheetCell(picture.float() / 255, "") for picture in pictures]))
    return rows


def concept_facts(found: Dissection, concepts: list[str], counts: list[int]) -> dict[str, Row]:
    """Return for each concept its share of the pixels, its detectors, and its best unit."""
    best = found.iou.max(0)
    return {
        name: {
            "share": float(found.shares[k]),
            "detectors": counts[k],
            "unit": int(best.indices[k]),
            "iou": float(best.values[k]),
        }
        for k, name in enumerate(concepts)
    }


def unit_table(found: Dissection, concepts: list[str]) -> list[Row]:
    """Return a row for each unit: its threshold, its best concept, and the IoU with each."""
    best, detects = found.iou.max(1), found.detectors(least=LEAST)
    return [
        {
            "unit": unit,
            "threshold": float(found.thresholds[unit]),
            "concept": concepts[int(best.indices[unit])],
            "iou": float(best.values[unit]),
            "detector": bool(detects[unit] >= 0),
            **{f"iou {name}": float(found.iou[unit, k]) for k, name in enumerate(concepts)},
        }
        for unit in range(len(found.iou))
    ]
