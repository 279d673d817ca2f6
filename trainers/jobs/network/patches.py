"""The patches of the samples that activate the units of a layer most."""

import torch

from explain.network.top_patches import rank_units, top_patches
from trainers.jobs.network.activations import middle_frame
from trainers.jobs.network.setup import NetworkSetup, Row, Shown
from trainers.run.folder.checkpoint import Saved
from trainers.run.show.figures.cells import CellRow, SheetCell, draw_cells


def find_patches(setup: NetworkSetup) -> Saved:
    """Return the patches of the units that are shown, as bytes, and where they are."""
    model, layer, flags = setup.context.model, setup.maps.name, setup.flags
    size = setup.context.batch_size
    units = list(flags.unit_numbers)
    if not units:
        batches = setup.batches(setup.ds, "units")
        units = rank_units(model, layer, batches, chunk=size)[: flags.units].tolist()
    batches = setup.batches(setup.ds, "patches")
    found = top_patches(model, layer, batches, k=flags.top, units=units, chunk=size)
    return {
        "units": torch.tensor(units),
        "values": found.values,
        "numbers": found.numbers,
        "boxes": found.boxes,
        "centres": found.centres,
        "patches": (found.patches * 255).round().byte(),
    }, None


def show_patches(setup: NetworkSetup, found: Saved) -> Shown:
    """Draw a row of patches for each unit, and list them."""
    tensors, whole = found[0], is_whole(setup, found)
    rows = [
        CellRow(
            f"unit {unit}", [patch_cell(setup, found, i, k, whole) for k in range(count_of(found))]
        )
        for i, unit in enumerate(tensors["units"].tolist())
    ]
    size = " x ".join(map(str, tensors["patches"].shape[3:]))
    what = (
        "each unit sees the whole sample; a ring is where it is most active"
        if whole
        else f"the {size} pixels that a unit sees"
    )
    title = (
        f"samples that activate units of {setup.maps.shown} most: the activation, and the class "
        f"of the sample\n{what}"
    )
    shown = tensors["units"].tolist()
    facts = {
        "layer": setup.maps.shown,
        "units": setup.maps.shape[0],
        "samples": len(setup.ds),
        "shown": shown,
        "pixels": list(tensors["patches"].shape[3:]),
        "whole": whole,
    }
    return Shown(
        facts, {"patches": draw_cells(rows, title=title)}, {"patches": table(setup, found)}
    )


def count_of(found: Saved) -> int:
    """Return how many patches a unit has."""
    return found[0]["values"].shape[1]


def is_whole(setup: NetworkSetup, found: Saved) -> bool:
    """Tell whether a unit sees at least as much as a sample has."""
    return list(found[0]["patches"].shape[3:]) == list(setup.ds.shape[1:])


def patch_cell(setup: NetworkSetup, found: Saved, i: int, k: int, whole: bool) -> SheetCell:
    """Return the k-th patch of the i-th unit, with a ring where it sees all."""
    tensors = found[0]
    label = setup.class_name(int(setup.ds.labels[int(tensors["numbers"][i, k])]))
    caption = f"{float(tensors['values'][i, k]):.3g}\n{label}".rstrip()
    row, column = tensors["centres"][i, k, -2:].tolist()
    mark = (row, column) if whole and setup.maps.spatial else None
    return SheetCell(middle_frame(tensors["patches"][i, k].float() / 255), caption, mark=mark)


def table(setup: NetworkSetup, found: Saved) -> list[Row]:
    """Return a row for each patch."""
    tensors, ds = found[0], setup.ds
    sides = ("frame", "row", "column")[-tensors["boxes"].shape[2] :]
    return [
        {
            "unit": unit,
            "rank": k + 1,
            "activation": float(tensors["values"][i, k]),
            "id": ds.ids[number],
            "class": setup.class_name(int(ds.labels[number])),
            **{
                f"{end}_{side}": int(tensors["boxes"][i, k, d, e])
                for d, side in enumerate(sides)
                for e, end in enumerate(("first", "end"))
            },
        }
        for i, unit in enumerate(tensors["units"].tolist())
        for k, number in enumerate(tensors["numbers"][i].tolist())
    ]
