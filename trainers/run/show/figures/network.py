"""Charts of the job `network`: samples in the plane, and detectors by concept."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import matplotlib.patheffects as effects
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from PIL import Image
from torch import Tensor

from trainers.run.show.images import PAD, TITLE, blank_sheet, to_image
from trainers.run.show.plots import COLOURS, chart_style

NAMED = 20  # classes that have a colour and a line in the legend each
WRITTEN = 40  # points that are named where there are more classes
MOST_BARS = 40
ACROSS = 24  # pictures along a side of a mosaic
SHEET = 1104  # pixels of its side
LONG = 24  # characters of a name


def embedding_chart(points: Tensor, labels: Sequence[str], wrong: Tensor, *, title: str) -> Figure:
    """Draw points in the colours of their classes; of more than 20 classes some have their names.

    Args:
        points: (N, 2).
        labels: names of the classes, "" of samples without.
        wrong: bool (N,), samples that the classifier takes for another class; crosses.
        title: the heading.
    """
    counts = Counter(labels)
    few = len(counts) <= NAMED
    order = sorted(counts) if few else []
    palette = colormaps["tab10" if len(order) <= 10 else "tab20"]
    with chart_style():
        figure = Figure(figsize=(9.0, 6.5))
        axes = figure.add_subplot()
        colours = [palette(order.index(label)) if few else COLOURS[0] for label in labels]
        size = max(6.0, min(40.0, 6000 / len(labels)))
        for mark, chosen in (("o", ~wrong), ("x", wrong)):
            rows = chosen.nonzero()[:, 0].tolist()
            x, y = points[rows].T.tolist()
            axes.scatter(x, y, size, [colours[i] for i in rows], marker=mark, linewidths=1.1)
        if not few:
            for i in spread_out(points, WRITTEN):
                text = axes.annotate(
                    shorten(labels[i]), (float(points[i, 0]), float(points[i, 1])),
                    fontsize=6.5, ha="center",
                    xytext=(0, 4), textcoords="offset points", in_layout=False,
                )  # fmt: skip
                text.set_path_effects([effects.withStroke(linewidth=2, foreground="white")])
        if wrong.any() and not few:
            title += "; x: taken for another class"
        axes.set(title=title, xticks=[], yticks=[])
        axes.grid(visible=False)
        entries = [
            Line2D([], [], marker="o", linestyle="", color=palette(i), label=shorten(name))
            for i, name in enumerate(order)
            if name
        ]
        if wrong.any() and few:
            entries.append(
                Line2D([], [], marker="x", linestyle="", color="#222222", label="taken for another")
            )
        if entries:
            figure.legend(handles=entries, loc="outside right upper")
        return figure


def mosaic(points: Tensor, pictures: Tensor, *, title: str) -> Image.Image:
    """Lay small pictures where their points are; of those in one cell of a grid the first.

    Args:
        points: (N, 2).
        pictures: (N, 3, S, S) in [0, 1].
        title: the heading.
    """
    low, high = points.amin(0), points.amax(0)
    shares = (points - low) / (high - low).clamp_min(torch.finfo(points.dtype).tiny)
    cells = (shares * (ACROSS - 1)).round().int()
    side = SHEET // ACROSS
    sheet, _ = blank_sheet((SHEET + 2 * PAD, SHEET + TITLE + PAD), title)
    taken: set[tuple[int, int]] = set()
    for (column, row), picture in zip(cells.tolist(), pictures, strict=True):
        if (column, row) not in taken:
            taken.add((column, row))
            place = (PAD + column * side, TITLE + (ACROSS - 1 - row) * side)
            sheet.paste(to_image(picture).resize((side - 2, side - 2)), place)
    return sheet


def spread_out(points: Tensor, count: int) -> list[int]:
    """Return up to `count` points that are far from each other, by farthest-point sampling.

    >>> spread_out(torch.tensor([[0.0, 0.0], [0.1, 0.0], [5.0, 0.0]]), 2)
    [0, 2]
    """
    chosen = [0]
    nearest = (points - points[0]).norm(dim=1)
    while len(chosen) < min(count, len(points)):
        chosen.append(int(nearest.argmax()))
        nearest = nearest.minimum((points - points[chosen[-1]]).norm(dim=1))
    return chosen


def detector_chart(counts: Mapping[str, int], *, title: str) -> Figure:
    """Draw how many units detect each concept, the most first; of many concepts those."""
    ranked = sorted(counts.items(), key=lambda pair: -pair[1])[:MOST_BARS]
    with chart_style():
        figure = Figure(figsize=(8.0, 1.4 + 0.26 * len(ranked)))
        axes = figure.add_subplot()
        names = [shorten(name) for name, _ in ranked]
        bars = axes.barh(range(len(ranked)), [n for _, n in ranked], color=COLOURS[0])
        axes.bar_label(bars, padding=3, fontsize=8)
        axes.set_yticks(range(len(ranked)), names)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlim(0, max(1, math.ceil(1.08 * max(n for _, n in ranked))))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(title=title, xlabel="units")
        return figure


def shorten(name: str) -> str:
    """Cut a long name."""
    return name if len(name) <= LONG else f"{name[: LONG - 1]}…"
