"""What was found of the maps, as rows of files and as means."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from explain.perturbation.boxes import Box, find_boxes_by_frame
from explain.scores.agreement import agreement
from explain.scores.randomisation import survives
from trainers.evaluate.scores import finite_or_none
from trainers.intervals import mean_interval, wilson
from trainers.jobs.explanation.maps import CURVES, PLACED, Explained, scores_of

Row = dict[str, Any]
Found = Mapping[str, Mapping[str, Tensor]]  # by method, what `explain_resumable` found
BOX_COLUMNS = ("id", "class", "method", "frame", "top", "left", "bottom", "right", "share")


def score_rows(explained: Explained, found: Found) -> list[Row]:
    """Return the rows of scores.csv, one for each method and sample; what is undefined is empty."""
    return [
        {
            "id": explained.ds.ids[i],
            "class": name,
            "probability": float(explained.probability[i]),
            "method": method,
            **{key: finite_or_none(float(each[i])) for key, each in scores_of(columns).items()},
        }
        for method, columns in found.items()
        for i, name in enumerate(explained.class_names)
    ]


def boxes_of(map_: Tensor) -> list[list[Box]]:
    """Return the boxes of each frame of a map (T, H, W); an image (H, W) is one frame."""
    return find_boxes_by_frame(map_ if map_.ndim == 3 else map_[None])


def box_rows(explained: Explained, found: Found, methods: Iterable[str]) -> list[Row]:
    """Return the rows of boxes.csv: those of each sample by each method that draws boxes."""
    return [
        {"id": explained.ds.ids[i], "class": name, "method": method, "frame": frame, **vars(box)}
        for method in methods
        for i, name in enumerate(explained.class_names)
        for frame, boxes in enumerate(boxes_of(found[method]["maps"][i]))
        for box in boxes
    ]


def summarise_methods(found: Found) -> dict[str, Row]:
    """Return the mean scores of each method with their intervals; what is undefined is None."""
    return {method: summarise(scores_of(columns)) for method, columns in found.items()}


def summarise(scores: Mapping[str, Tensor]) -> Row:
    """Return the means of scores (N,) as far as defined, with intervals, and a check's flag."""
    row: Row = {}
    for key, values in scores.items():
        known = values[torch.isfinite(values)].tolist()
        row[key] = sum(known) / len(known) if known else None
        if key == "pointing":  # each is 0 or 1
            row[f"{key}_interval"] = wilson(round(sum(known)), len(known))
        elif key in (*CURVES, *PLACED):
            row[f"{key}_interval"] = mean_interval(known)
    if "random_weights" in scores:
        row["survives_random_weights"] = survives(scores["random_weights"])
    return row


def agreement_table(found: Found) -> dict[str, dict[str, float | None]] | None:
    """Return the mean rank correlation of each two methods, or None where there is one method."""
    if len(found) < 2:
        return None
    each = agreement({name: columns["maps"] for name, columns in found.items()})  # (N, M, M)
    rows: Sequence[Sequence[float]] = each.nanmean(0).tolist()
    return {
        first: {second: finite_or_none(value) for second, value in zip(found, row, strict=True)}
        for first, row in zip(found, rows, strict=True)
    }
