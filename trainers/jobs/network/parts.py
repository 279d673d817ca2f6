"""The parts of the job `network` by their names, and which of them can be shown."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from explain.network.filters import first_convolution
from trainers.jobs.network.activations import find_activations, show_activations
from trainers.jobs.network.classes import find_classes, show_classes
from trainers.jobs.network.dissection import find_dissection, show_dissection
from trainers.jobs.network.embedding import find_embedding, show_embedding
from trainers.jobs.network.filters import find_filters, show_filters
from trainers.jobs.network.neighbours import find_neighbours, show_neighbours
from trainers.jobs.network.patches import find_patches, show_patches
from trainers.jobs.network.setup import NetworkSetup, Shown
from trainers.run.folder.checkpoint import Saved

log = logging.getLogger(__name__)
FEWEST = 4  # samples that can be placed in the plane


@dataclass(frozen=True)
class Part:
    """A part of the job.

    Attributes:
        find: does the work; what it returns is kept.
        show: draws and lists what was found.
    """

    find: Callable[[NetworkSetup], Saved]
    show: Callable[[NetworkSetup, Saved], Shown]


PARTS = {
    "filters": Part(find_filters, show_filters),
    "activations": Part(find_activations, show_activations),
    "patches": Part(find_patches, show_patches),
    "neighbours": Part(find_neighbours, show_neighbours),
    "embedding": Part(find_embedding, show_embedding),
    "classes": Part(find_classes, show_classes),
    "dissection": Part(find_dissection, show_dissection),
}


def choose_parts(setup: NetworkSetup) -> tuple[list[str], list[str]]:
    """Return which parts to show, and why others that were not named are left out.

    Raises:
        ValueError: for a part that was named and cannot be shown.
    """
    named = setup.flags.show
    wanted = [name for name in PARTS if name in (named or PARTS)]
    if setup.flags.masks is None:
        wanted = [name for name in wanted if name != "dissection"]
    chosen, left_out = [], []
    for name in wanted:
        reason = hindrance(setup, name)
        if reason is None:
            chosen.append(name)
        elif named:
            raise ValueError(f"--show {name} cannot be: {reason}; leave it out")
        else:
            left_out.append(f"without {name}: {reason}")
            log.warning("%s", left_out[-1])
    return chosen, left_out


def hindrance(setup: NetworkSetup, part: str) -> str | None:
    """Return why a part cannot be shown, if so."""
    layer, several = setup.maps, f"{setup.ds.name} has {len(setup.ds)} samples"
    flat = f"the layer {layer.shown} returns {layer.shape} of a sample, no units at positions"
    match part:
        case "filters":
            try:
                first_convolution(setup.context.model)
            except ValueError as error:
                return str(error)
        case "dissection" if setup.ds.is_video:
            return "it is for images with masks, and the samples are videos"
        case "activations" | "dissection" if not layer.spatial:
            return flat
        case "patches" if not layer.spatial and len(layer.shape) != 1:
            return flat
        case "neighbours" if len(setup.ds) < 2:
            return several
        case "embedding" if len(setup.ds) < FEWEST:
            return f"{several}, and t-SNE needs {FEWEST}"
    return None
