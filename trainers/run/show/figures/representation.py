"""Figures of the job `representation`: pairs, distances, depth, manifold, units, inversions."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from textwrap import shorten

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from trainers.run.show.images import is_clip, to_uint8
from trainers.run.show.plots import COLOURS, chart_style

CELL, CAPTION, HEAD = 1.9, 0.12, 0.55  # inches of a picture, a note below it, the headings
ROW = 0.42  # inches of a box
HISTOGRAM = 0.85  # inches of one
LONGEST = 24  # characters below a picture
BINS = 24
LINEAR = 10.0  # up to which a scale of likelihoods is linear
DARK, GREY = "#222222", COLOURS[7]
Values = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class DepthPoint:
    """How near the adversaries of one layer and budget came to their guides.

    Attributes:
        layer: its name.
        eps: the radius in pixel units.
        trained: whether the weights were the classifier's own, and not random.
        low: lower quartile of d(x, g) / d(s, g).
        median: the second one.
        high: the upper one.
    """

    layer: str
    eps: float
    trained: bool
    low: float
    median: float
    high: float


def picture_grid(
    rows: Sequence[Sequence[Tensor]],
    *,
    columns: Sequence[str],
    notes: Sequence[Sequence[str]],
    names: Sequence[str] = (),
    title: str = "",
) -> Figure:
    """Lay out samples in rows, with headings, a note below each, and a name before each row.

    Args:
        rows: samples (C, H, W) or (C, T, H, W) in [0, 1]; of clips the frame in the middle shows.
        columns: headings.
        notes: for each row as many texts.
        names: of the rows.
        title: of the figure.
    """
    with chart_style():
        left = 1.3 if names else 0.0
        size = (len(columns) * CELL + left, len(rows) * (CELL + CAPTION) + HEAD)
        figure = Figure(figsize=size)
        grid = figure.subplots(len(rows), len(columns), squeeze=False)
        if title:
            figure.suptitle(title, fontsize=10)
        for y, row in enumerate(rows):
            for x, sample in enumerate(row):
                axis = grid[y, x]
                _show(axis, sample)
                axis.set_xlabel(shorten(notes[y][x], LONGEST, placeholder="…"), fontsize=8)
            if names:
                grid[y, 0].set_ylabel(names[y], rotation=0, ha="right", va="center", fontsize=9)
        for axis, heading in zip(grid[0], columns, strict=True):
            axis.set_title(heading, loc="center", fontsize=9)
    return figure


def ratio_histograms(values: Values, *, title: str) -> Figure:
    """Draw a histogram of d(x, g) / d(s, g) for each name below the other, on one scale.

    Args:
        values: by name; what is not finite is left out.
        title: the heading.
    """
    known = _finite(values)
    top = max([1.05, *(max(row) for row in known.values())])
    with chart_style():
        figure = Figure(figsize=(8.0, 1.3 + HISTOGRAM * len(known)))
        axes = figure.subplots(len(known), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        bins = np.linspace(0, top, BINS + 1).tolist()
        for axis, (name, colour) in zip(axes, _coloured(known), strict=True):
            row = known[name]
            middle = float(np.median(row))
            axis.hist(row, bins=bins, color=colour, alpha=0.75, edgecolor="white", linewidth=0.5)
            axis.axvline(middle, color=colour, linewidth=2)
            axis.axvline(1, color=DARK, linestyle="--", linewidth=1)
            axis.set_title(f"{name}: median {middle:.2f}", fontsize=9)
            axis.set_ylabel("pairs")
            axis.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        axes[-1].set_xlabel("d(x, g) / d(s, g): 0 at the guide, 1 as far as the source")
        axes[-1].set_xlim(0, top)
        figure.suptitle(title, fontsize=11)
    return figure


def depth_chart(points: Sequence[DepthPoint]) -> Figure:
    """Draw the median of d(x, g) / d(s, g), with its quartiles, by layer and by budget.

    Args:
        points: layers by their depth. A chart is left out where all have one layer, or one budget.
    """
    layers = list(dict.fromkeys(point.layer for point in points))
    radii = sorted({point.eps for point in points})
    of_255 = all(abs(255 * eps - round(255 * eps)) < 1e-3 for eps in radii)
    unit, note = (255, ", in 1/255") if of_255 else (1, "")
    charts = [len(layers) > 1, len(radii) > 1]
    with chart_style():
        figure = Figure(figsize=(1.0 + 5.2 * sum(charts), 4.6))
        axes = list(figure.subplots(1, sum(charts), sharey=True, squeeze=False)[0])
        if charts[0]:
            axis = axes.pop(0)
            lines = {
                f"eps {unit * eps:.3g}{'/255' * of_255}": [p for p in points if p.eps == eps]
                for eps in radii
            }
            _draw_lines(axis, lines, lambda p: layers.index(p.layer))
            axis.set(title="By depth", xlabel="layer")
            axis.set_xticks(range(len(layers)), layers, rotation=30 if len(layers) > 3 else 0)
        if charts[1]:
            axis = axes.pop(0)
            lines = {layer: [p for p in points if p.layer == layer] for layer in layers}
            _draw_lines(axis, lines, lambda p: unit * p.eps)
            axis.set(title="By budget", xlabel=f"eps (linf){note}")
        title = "Dots: medians over the pairs; bars: quartiles; dotted: random weights"
        figure.suptitle(title, fontsize=9)
    return figure


def box_chart(
    panels: Mapping[str, Values],
    *,
    title: str,
    grey: Collection[str] = (),
    likelihoods: bool = False,
) -> Figure:
    """Draw boxes from quartile to quartile, with a dot for each value, a row for each name.

    Args:
        panels: values by name, for each quantity, which stands below its axis with its unit. All
            have the same names; what is not finite is left out.
        title: the heading.
        grey: names of what the others are compared with.
        likelihoods: whether the axis is logarithmic beyond LINEAR, with 0 marked.
    """
    names = list(next(iter(panels.values())))
    colours = [GREY if name in grey else colour for name, colour in _coloured(names)]
    with chart_style():
        figure = Figure(figsize=(3.2 + 3.2 * len(panels), 1.4 + ROW * len(names)))
        grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axis, (quantity, values) in zip(grid, panels.items(), strict=True):
            for place, (name, colour) in enumerate(zip(names, colours, strict=True)):
                _draw_box(axis, place, [v for v in values[name] if math.isfinite(v)], colour)
            if likelihoods:
                axis.axvline(0, color=DARK, linestyle="--", linewidth=1)
                axis.set_xscale("symlog", linthresh=LINEAR)
                axis.set_xlim(1.5 * axis.get_xlim()[0], LINEAR / 4)
            axis.set(xlabel=quantity)
        grid[0].set_yticks(range(len(names)), names)
        grid[0].set_ylim(len(names) - 0.5, -0.5)
        figure.suptitle(title, fontsize=11)
    return figure


def _show(axis: Axes, sample: Tensor) -> None:
    """Show a sample, of a clip the frame in the middle, without axes."""
    pixels = to_uint8(sample[:, sample.shape[1] // 2] if is_clip(sample) else sample)
    axis.imshow(pixels if pixels.shape[-1] == 3 else pixels[..., :1].repeat(3, -1))
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


def _draw_lines(
    axis: Axes, lines: Mapping[str, Sequence[DepthPoint]], at: Callable[[DepthPoint], float]
) -> None:
    """Draw lines of medians with their quartiles, dotted for random weights, and name them above.

    Args:
        axis: where to.
        lines: points by the name of their line.
        at: returns the place of a point.
    """
    for name, colour in _coloured(lines):
        for trained, style in ((True, "-o"), (False, ":s")):
            own = sorted((p for p in lines[name] if p.trained == trained), key=at)
            bars = [[p.median - p.low for p in own], [p.high - p.median for p in own]]
            axis.errorbar(
                [at(p) for p in own], [p.median for p in own], yerr=bars, fmt=style, color=colour,
                label=name if trained else None, elinewidth=1, capsize=2,
                alpha=1.0 if trained else 0.6,
            )  # fmt: skip
    axis.axhline(1, color=DARK, linestyle="--", linewidth=1)
    axis.set(ylabel="d(x, g) / d(s, g)")
    axis.set_ylim(bottom=0)
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.08), ncols=2 if len(lines) == 4 else 3)


def _draw_box(axis: Axes, place: int, values: Sequence[float], colour: str) -> None:
    """Draw the quartiles of values in a row, and the values, which are spread a little over it."""
    if not values:
        return
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
    axis.barh(place, high - low, 0.6, left=low, color=colour, alpha=0.25)
    axis.vlines(middle, place - 0.3, place + 0.3, colour, linewidth=2)
    offsets = [place + 0.36 * ((i * 0.618) % 1 - 0.5) for i in range(len(values))]
    axis.plot(values, offsets, "o", color=colour, markersize=3, alpha=0.6)


def _finite(values: Values) -> dict[str, list[float]]:
    """Return what is finite, of the names with any."""
    known = {name: [v for v in row if math.isfinite(v)] for name, row in values.items()}
    return {name: row for name, row in known.items() if row}


def _coloured(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return each name with a colour."""
    return list(zip(names, cycle(COLOURS), strict=False))
