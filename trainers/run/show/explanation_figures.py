"""A figure of one sample's maps: a row for each method, on one colour scale."""

from collections.abc import Mapping
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize as ColourScale
from matplotlib.figure import Figure
from torch import Tensor

from trainers.evenly_spaced import evenly_spaced
from trainers.run.show.images import is_clip, to_uint8
from trainers.run.show.plots import chart_style

COLOURS = "inferno"
CELL = 1.9  # inches of a sample in the figure
WIDE = 23  # characters of a line of the names of the methods
LABEL = 1.7  # inches that they take
FRAMES = 6  # of a clip
BRIGHTEST = 0.995  # quantile of a map that has the last colour
OVERLAY = 0.65  # opacity of a map over its sample


def explanation_figure(
    x: Tensor, maps: Mapping[str, Tensor], notes: Mapping[str, str], *, title: str
) -> Figure:
    """Draw the sample, and below it a row for each method: the map, and the map over the sample.

    Each map is shown as shares of its own 99.5 % quantile, so that all have one scale. Of a clip a
    row shows frames, with the map over them.

    Args:
        x: the sample, (C, H, W) or (C, T, H, W) in [0, 1].
        maps: by method, (H, W) or (T, H, W), at least 0.
        notes: what stands below the method's name.
        title: of the figure.
    """
    clip = is_clip(x)
    frames = evenly_spaced(x.shape[1], FRAMES) if clip else [0]
    across = len(frames) if clip else 2
    with chart_style():
        figure = Figure(figsize=(LABEL + across * CELL + 1.2, 0.6 + (1 + len(maps)) * CELL))
        axes = figure.subplots(1 + len(maps), across, squeeze=False)
        figure.suptitle(title, fontsize=11)
        pictures = [to_uint8(x[:, t] if clip else x) for t in frames]
        for axis, picture in zip(axes[0], pictures, strict=False):
            _show(axis, picture)
        _name(axes[0, 0], "sample", "")
        for row, (method, map_) in zip(axes[1:], maps.items(), strict=True):
            shares = _shares(map_)
            _name(row[0], method, notes.get(method, ""))
            if clip:
                for axis, picture, t in zip(row, pictures, frames, strict=True):
                    _show(axis, picture, shares[t], OVERLAY)
            else:
                _show(row[0], None, shares, 1.0)
                _show(row[1], pictures[0], shares, OVERLAY)
        for axis in axes.flat:
            axis.set_axis_off() if not axis.images else axis.set(xticks=[], yticks=[])
        scale = ScalarMappable(ColourScale(0, 1), COLOURS)
        bar = figure.colorbar(scale, ax=axes, shrink=0.5, aspect=30, pad=0.03)
        bar.set_label("share of the map's 99.5 % quantile", fontsize=9)
    return figure


def _shares(map_: Tensor) -> np.ndarray[Any, Any]:
    """Return a map as shares of its brightest values, in [0, 1]."""
    values: np.ndarray[Any, Any] = map_.detach().float().cpu().numpy()
    top = float(np.quantile(values, BRIGHTEST)) or float(values.max())
    return np.clip(values / top, 0, 1) if top > 0 else values


def _show(
    axis: Axes, picture: Any, shares: np.ndarray[Any, Any] | None = None, opacity: float = 1.0
) -> None:
    """Show a picture (H, W, C) in bytes, a map (H, W), or the map over the picture in grey."""
    if picture is not None and shares is not None:
        picture = picture.mean(-1, keepdims=True).repeat(3, -1).astype(np.uint8)
    if picture is not None:
        axis.imshow(picture if picture.shape[-1] == 3 else picture.repeat(3, -1))
    if shares is not None:
        axis.imshow(shares, cmap=COLOURS, vmin=0, vmax=1, alpha=opacity, interpolation="nearest")


def _name(axis: Axes, method: str, note: str) -> None:
    """Write the method's name, in lines that fit, and a note to the left of its row."""
    lines = fill(method.replace(":", ": ").replace(",", ", "), WIDE)
    axis.set_ylabel(
        f"{lines}\n{note}".rstrip(), rotation=0, ha="right", va="center", fontsize=9, labelpad=8
    )
