"""Figures of the maps of a sample, on one colour scale."""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize as ColourScale
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from explain.perturbation.boxes import Box
from trainers.evenly_spaced import evenly_spaced
from trainers.run.show.images import is_clip, to_uint8
from trainers.run.show.plots import chart_style

COLOURS = "inferno"
CELL = 1.5  # inches of a sample in the figure
WIDE = 19  # characters of a line of the names of the methods
LABEL = 1.7  # inches that they take beside a row
HEAD = 0.75  # inches that they take above a column
ACROSS = 7  # columns at most of the maps of an image, the sample's among them
FRAMES = 6  # of a clip
BRIGHTEST = 0.995  # quantile of a map that has the last colour
OVERLAY = 0.65  # opacity of a map over its sample
BOX = "#22d3ee"
BARE: dict[str, Any] = {"xticks": [], "yticks": []}  # axes that have none are quicker, too


@dataclass(frozen=True)
class ShownMap:
    """A map as a figure shows it.

    Attributes:
        name: of the method.
        map: (H, W) or (T, H, W), at least 0.
        note: what stands below the name.
        boxes: of each frame of the map; an image has one. None draws none.
        top: the value that has the last colour; None takes the map's own 99.5 % quantile.
    """

    name: str
    map: Tensor
    note: str = ""
    boxes: Sequence[Sequence[Box]] | None = None
    top: float | None = None

    @property
    def shares(self) -> np.ndarray[Any, Any]:
        """The map as shares of the value that has the last colour, in [0, 1]."""
        values: np.ndarray[Any, Any] = self.map.detach().float().cpu().numpy()
        top = brightest(self.map) if self.top is None else self.top
        return np.clip(values / top, 0, 1) if top > 0 else np.zeros_like(values)

    def boxes_at(self, frame: int) -> Sequence[Box]:
        """Return the boxes of a frame."""
        return self.boxes[frame] if self.boxes else ()


def brightest(map_: Tensor) -> float:
    """Return the value of a map that has the last colour: its 99.5 % quantile, if that is not 0."""
    values = map_.detach().float().cpu().numpy()
    return float(np.quantile(values, BRIGHTEST)) or float(values.max())


def explanation_figure(x: Tensor, maps: Sequence[ShownMap], *, title: str) -> Figure:
    """Draw the maps of a sample, each as shares of its own 99.5 % quantile: one scale for all.

    Of an image a column for each method has the map, and below it the map over the sample. Of a
    clip a row for each has frames, with the map over them.

    Args:
        x: the sample, (C, H, W) or (C, T, H, W) in [0, 1].
        maps: what is shown.
        title: of the figure.
    """
    with chart_style():
        figure = _clip_rows(x, maps) if is_clip(x) else _image_columns(x, maps)
        figure.suptitle(title, fontsize=11)
        for axis in figure.axes:
            if not axis.images:
                axis.set_axis_off()
        scale = ScalarMappable(ColourScale(0, 1), COLOURS)
        bar = figure.colorbar(scale, ax=figure.axes, shrink=0.6, aspect=30, pad=0.02)
        bar.set_label("share of the map's 99.5 % quantile", fontsize=8.5)
    return figure


def _image_columns(x: Tensor, maps: Sequence[ShownMap]) -> Figure:
    """Draw a column for the sample and for each map, in as many blocks as are needed."""
    across = min(ACROSS, 1 + len(maps))
    blocks = -(-(1 + len(maps)) // across)
    figure = Figure(figsize=(across * CELL + 1.1, blocks * (2 * CELL + HEAD) + 0.4))
    axes = figure.subplots(2 * blocks, across, squeeze=False, subplot_kw=BARE)
    picture = to_uint8(x)
    show_picture(axes[0, 0], picture)
    axes[0, 0].set_title("sample", fontsize=9, loc="center")
    for place, shown in enumerate(maps, start=1):
        upper, lower = axes[2 * (place // across) : 2 * (place // across) + 2, place % across]
        show_map(upper, shown.shares)
        show_map(lower, shown.shares, picture, boxes=shown.boxes_at(0))
        upper.set_title(_caption(shown), fontsize=9, loc="center")
    return figure


def _clip_rows(x: Tensor, maps: Sequence[ShownMap]) -> Figure:
    """Draw a row for the clip and for each map, of some frames."""
    frames = evenly_spaced(x.shape[1], FRAMES)
    figure = Figure(
        figsize=(LABEL + len(frames) * CELL + 1.1, 0.6 + (1 + len(maps)) * (CELL + 0.1))
    )
    axes = figure.subplots(1 + len(maps), len(frames), squeeze=False, subplot_kw=BARE)
    pictures = [to_uint8(x[:, t]) for t in frames]
    for axis, picture, t in zip(axes[0], pictures, frames, strict=True):
        show_picture(axis, picture)
        axis.set_title(f"frame {t}", fontsize=8.5, loc="center")
    for row, shown in zip(axes[1:], maps, strict=True):
        for axis, picture, t in zip(row, pictures, frames, strict=True):
            show_map(axis, shown.shares[t], picture, boxes=shown.boxes_at(t))
        label = {"rotation": 0, "ha": "right", "va": "center", "fontsize": 9, "labelpad": 8}
        row[0].set_ylabel(_caption(shown), **label)
    return figure


def show_picture(axis: Axes, picture: np.ndarray[Any, Any]) -> None:
    """Show a picture (H, W, C) in bytes, grey or RGB."""
    axis.imshow(picture if picture.shape[-1] == 3 else picture.repeat(3, -1))


def show_map(
    axis: Axes,
    shares: np.ndarray[Any, Any],
    picture: np.ndarray[Any, Any] | None = None,
    *,
    boxes: Sequence[Box] = (),
) -> None:
    """Show a map (H, W) in [0, 1], alone or over a picture (H, W, C), which becomes grey."""
    if picture is not None:
        show_picture(axis, picture.mean(-1, keepdims=True).astype(np.uint8))
    opacity = 1 if picture is None else OVERLAY
    axis.imshow(shares, cmap=COLOURS, vmin=0, vmax=1, alpha=opacity, interpolation="nearest")
    for box in boxes:
        size = (box.right - box.left, box.bottom - box.top)
        corner = (box.left - 0.5, box.top - 0.5)  # of the pixel, whose centre has its number
        axis.add_patch(Rectangle(corner, *size, fill=False, edgecolor=BOX, linewidth=1.4))


def _caption(shown: ShownMap) -> str:
    """Return the name, in lines that fit, and the note below."""
    lines = fill(shown.name.replace(":", ": ").replace(",", ", "), WIDE)
    return f"{lines}\n{shown.note}".rstrip()
