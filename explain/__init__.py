"""What a classifier looked at: maps of samples, boxes, representations, and scores of the maps.

`METHODS` has the explanation methods by the names of the command line; each is a frozen dataclass
of options, called as `method(model, x, y)`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from explain.captum_method import CaptumMethod as CaptumMethod
    from explain.method import ExplanationMethod as ExplanationMethod
    from explain.network.activation_maps import activation_grid as activation_grid
    from explain.network.class_image import class_images as class_images
    from explain.network.dissection import dissect as dissect
    from explain.network.filters import filter_grid as filter_grid
    from explain.network.neighbours import nearest_neighbours as nearest_neighbours
    from explain.network.projector import write_embedding as write_embedding
    from explain.network.top_patches import top_patches as top_patches
    from explain.perturbation.boxes import energy_over_time as energy_over_time
    from explain.perturbation.boxes import find_boxes as find_boxes
    from explain.perturbation.difference_map import learn_differences as learn_differences
    from explain.perturbation.difference_map import mean_and_spread as mean_and_spread
    from explain.registry import METHODS as METHODS
    from explain.representation.analysis import analyse_representations as analyse_representations
    from explain.representation.collect import collect_guided as collect_guided
    from explain.representation.collect import collect_references as collect_references
    from explain.representation.random_network import (
        with_orthonormal_weights as with_orthonormal_weights,
    )
    from explain.scores.agreement import agreement as agreement
    from explain.scores.box_iou import boxes_of_masks as boxes_of_masks
    from explain.scores.box_iou import localisation_iou as localisation_iou
    from explain.scores.box_iou import mask_iou as mask_iou
    from explain.scores.deletion import area_under as area_under
    from explain.scores.deletion import deletion_curve as deletion_curve
    from explain.scores.deletion import insertion_curve as insertion_curve
    from explain.scores.pointing_game import pointing_game as pointing_game
    from explain.scores.randomisation import randomisation_check as randomisation_check
    from explain.scores.randomisation import survives as survives
    from explain.scores.stability import stability as stability

_HOMES = {
    "CaptumMethod": "explain.captum_method",
    "ExplanationMethod": "explain.method",
    "METHODS": "explain.registry",
    "activation_grid": "explain.network.activation_maps",
    "agreement": "explain.scores.agreement",
    "analyse_representations": "explain.representation.analysis",
    "area_under": "explain.scores.deletion",
    "boxes_of_masks": "explain.scores.box_iou",
    "class_images": "explain.network.class_image",
    "collect_guided": "explain.representation.collect",
    "collect_references": "explain.representation.collect",
    "deletion_curve": "explain.scores.deletion",
    "dissect": "explain.network.dissection",
    "energy_over_time": "explain.perturbation.boxes",
    "filter_grid": "explain.network.filters",
    "find_boxes": "explain.perturbation.boxes",
    "insertion_curve": "explain.scores.deletion",
    "learn_differences": "explain.perturbation.difference_map",
    "localisation_iou": "explain.scores.box_iou",
    "mask_iou": "explain.scores.box_iou",
    "mean_and_spread": "explain.perturbation.difference_map",
    "nearest_neighbours": "explain.network.neighbours",
    "pointing_game": "explain.scores.pointing_game",
    "randomisation_check": "explain.scores.randomisation",
    "stability": "explain.scores.stability",
    "survives": "explain.scores.randomisation",
    "top_patches": "explain.network.top_patches",
    "with_orthonormal_weights": "explain.representation.random_network",
    "write_embedding": "explain.network.projector",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a public name from its home on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
