"""The filters of the first convolution."""

from explain.network.filters import filter_pictures, first_convolution
from trainers.jobs.network.setup import NetworkSetup, Shown
from trainers.run.folder.checkpoint import Saved
from trainers.run.show.figures.cells import SheetCell, draw_cells, grid_rows

SIDE = 56  # pixels of a filter


def find_filters(setup: NetworkSetup) -> Saved:
    """Return the filters as pictures."""
    layer = first_convolution(setup.context.model)
    return {"pictures": filter_pictures(setup.context.model, layer=layer)}, {"layer": layer}


def show_filters(setup: NetworkSetup, found: Saved) -> Shown:
    """Draw the filters with their numbers."""
    pictures, layer = found[0]["pictures"], found[1]["layer"] or "(the model)"
    cells = [SheetCell(picture, str(number)) for number, picture in enumerate(pictures)]
    wide = pictures.shape[3] > 3 * pictures.shape[2]
    over = "" if setup.ds.shape[0] in (1, 3) else ", means of their channels"
    title = f"filters of {layer}: grey is a weight of 0, each scaled by its largest{over}"
    figure = draw_cells(grid_rows(cells, columns=2 if wide else 12), title=title, side=SIDE)
    facts = {"layer": layer, "filters": len(pictures)}
    return Shown(facts, {"filters": figure})
