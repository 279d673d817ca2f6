"""Charts, drawn by matplotlib, as pictures or SVG; their bytes follow from the data alone."""

import io
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from cycler import cycler
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from PIL import Image
from torch import Tensor

from trainers.run.folder.atomic import write_text
from trainers.run.show.images import amplification, to_uint8, write_png

COLOURS = ("#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2", "#be185d", "#4b5563")
ON_DARK, ON_LIGHT = "#fefefe", "#111827"  # text on cells, the same in a light and a dark page
SIZE = (8.0, 4.5)  # inches
DPI = 120
FEW = 12  # points of a line that are marked each
STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#9ca3af",
    "axes.grid": True,
    "axes.labelsize": 9,
    "axes.prop_cycle": cycler(color=COLOURS),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "figure.constrained_layout.h_pad": 0.1,  # inches
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.1,
    "figure.dpi": DPI,
    "figure.figsize": SIZE,
    "grid.color": "#e5e7eb",
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "lines.markersize": 4.5,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "sparring",  # else ids are drawn at random
    "text.color": "#222222",
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
}
CHANNELS: tuple[str, ...] = ("red", "green", "blue")
PAINT: tuple[str, ...] = ("#dc2626", "#059669", "#2563eb")  # of their curves
Points = Sequence[tuple[float, float]]


def chart_style() -> AbstractContextManager[None]:
    """Let matplotlib draw as STYLE says in the body, whatever the user's own settings are."""
    return style.context(["default", STYLE])


def line_chart(
    lines: Mapping[str, Points],
    *,
    title: str,
    x_label: str,
    y_label: str = "",
    log_x: bool = False,
    styles: Mapping[str, Mapping[str, Any]] | None = None,
    ranges: Mapping[str, Points] | None = None,
) -> Figure:
    """Draw lines over common axes, with a legend where there are several.

    Args:
        lines: the points (x, y) of each line by its name; a y that is not finite leaves a gap.
        title: the heading.
        x_label: the quantity along the horizontal axis, with its unit.
        y_label: the same of the vertical axis.
        log_x: scale the horizontal axis, whose values are then above 0, logarithmically.
        styles: matplotlib's line properties by the name of a line, where they are not the usual.
        ranges: for each point of some lines, the lowest and the highest value that it is the mean
            of; drawn as an error bar.
    """
    with chart_style():
        figure = Figure()
        axes = figure.add_subplot()
        draw_lines(axes, lines, styles=styles or {})
        for line, (name, points) in zip(axes.lines, lines.items(), strict=True):
            if bounds := (ranges or {}).get(name):
                xs, (lows, highs) = [x for x, _ in points], zip(*bounds, strict=True)
                axes.vlines(xs, lows, highs, str(line.get_color()), linewidth=1)
        axes.set(title=title, xlabel=x_label, ylabel=y_label)
        _scale_x(axes, [x for points in lines.values() for x, _ in points], log=log_x)
        add_legend(figure, axes)
        return figure


def pattern_figure(pattern: Tensor, *, title: str) -> Image.Image:
    """Draw a pattern as a strip of colours, one a frame, over a curve for each channel.

    Args:
        pattern: (C, T) in pixel units.
        title: the heading.

    Returns:
        The strip, around grey and amplified by the factor that the title then names, above the
        values in percent of full scale.

    Source: Naeh et al. 2020, figure 2.
    """
    values = pattern.detach().cpu().float()
    channels, frames = values.shape
    factor = amplification(float(values.abs().max()))
    colours = 0.5 + factor * values[:, None]  # (C, 1, T)
    names, paint = CHANNELS, PAINT
    if channels != len(CHANNELS):  # no colours that we know of: all channels as one grey
        colours = colours.mean(0, keepdim=True).expand(3, -1, -1)  # (3, 1, T)
        names, paint = tuple(f"channel {c}" for c in range(channels)), COLOURS
    rows = (100 * values).tolist()
    lines = {name: list(enumerate(row)) for name, row in zip(names, rows, strict=True)}
    styles = {name: {"color": colour} for name, colour in zip(names, cycle(paint), strict=False)}
    with chart_style():
        figure = Figure(figsize=(SIZE[0], SIZE[1] + 0.5))
        strip, curves = figure.subplots(2, sharex=True, height_ratios=(1, 6))
        ends = (-0.5, frames - 0.5, 0, 1)
        strip.imshow(to_uint8(colours), aspect="auto", interpolation="nearest", extent=ends)
        strip.set(title=f"{title} (colours x {factor})", yticks=[])
        strip.tick_params(bottom=False, labelbottom=False)
        strip.grid(visible=False)
        draw_lines(curves, lines, styles=styles)
        curves.set(xlabel="frame", ylabel="% of full scale")
        curves.xaxis.get_major_locator().set_params(integer=True)
        add_legend(figure, curves)
        return to_picture(figure)


def path_figure(points: Sequence[tuple[float, Tensor, Tensor]], *, title: str) -> Image.Image:
    """Draw the path of mean roughness over mean thickness as the weights change.

    Args:
        points: for each share beta1 of beta1 + beta2: it, and the thickness and the roughness of
            all clips that were fooled, (N,) each in % of full scale. Without clips it is left out.
        title: the heading.

    Source: Naeh et al. 2020, figure 5.
    """
    fooled = [(share, thick, rough) for share, thick, rough in points if len(thick)]
    means = [(share, float(thick.mean()), float(rough.mean())) for share, thick, rough in fooled]
    lines: dict[str, Points] = {"path": [(thick, rough) for _, thick, rough in means]}
    lines |= {f"beta1 {share:g}": [(thick, rough)] for share, thick, rough in means}
    x_label, y_label = "mean thickness in %", "mean roughness in %"
    return to_picture(line_chart(lines, title=title, x_label=x_label, y_label=y_label))


def draw_lines(
    axes: Axes, lines: Mapping[str, Points], *, styles: Mapping[str, Mapping[str, Any]]
) -> None:
    """Add lines to axes; each point of a short solid one is marked."""
    for name, points in lines.items():
        xs, ys = [x for x, _ in points], [y for _, y in points]
        options = {"label": name, **styles.get(name, {})}
        solid = options.get("linestyle", "-") == "-"
        marker = "o" if len(points) <= FEW and (solid or len(points) == 1) else None
        axes.plot(xs, ys, **{"marker": marker, **options})


def add_legend(figure: Figure, axes: Axes) -> None:
    """Name the lines of axes beside them; a single line has the title for that."""
    if len(axes.get_legend_handles_labels()[1]) > 1:
        figure.legend(loc="outside right upper")


def _scale_x(axes: Axes, xs: Sequence[float], *, log: bool) -> None:
    """Choose the ticks of the horizontal axis: whole numbers where all values are whole."""
    if log and xs:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(log_ticks(min(xs), max(xs))))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        whole = all(float(x).is_integer() for x in xs)
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=whole, steps=[1, 2, 5, 10]))


def log_ticks(low: float, high: float) -> list[float]:
    """Return round numbers from low to high, both above 0.

    Powers of ten; where these are too few, also 2 and 5 times them, or every multiple.

    >>> log_ticks(3, 70), log_ticks(1, 2000)
    ([5.0, 10.0, 20.0, 50.0], [1.0, 10.0, 100.0, 1000.0])
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for factors in ((1,), (1, 2, 5), range(1, 10)):
        every = (float(f"{factor}e{power}") for power in powers for factor in factors)
        ticks = [tick for tick in every if low / 1.001 <= tick <= high * 1.001]
        if len(ticks) > 3:
            break
    return ticks


def to_picture(figure: Figure) -> Image.Image:
    """Return a figure as a picture, of 960 x 540 pixels where it has the usual size."""
    canvas: Any = FigureCanvasAgg(figure)
    with chart_style():
        canvas.draw()  # once: `savefig` draws all twice, to lay it out first
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def write_chart(path: Path, figure: Figure) -> None:
    """Write a chart as PNG, and beside it as SVG, which a report shows in its own colours.

    Args:
        path: the file of the PNG.
        figure: the chart.
    """
    write_png(path, to_picture(figure))
    figure.set_layout_engine("none")  # it is laid out by now
    write_text(path.with_suffix(".svg"), to_svg(figure))


def to_svg(figure: Figure) -> str:
    """Return a figure as SVG, without a date and a version in it."""
    text = io.StringIO()
    canvas: Any = FigureCanvasSVG(figure)
    with chart_style():
        canvas.print_svg(text, metadata={"Date": None, "Creator": None})  # drawn once, as above
    return text.getvalue()
