"""A line chart as a picture, drawn with Pillow alone, or as SVG."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from PIL import Image

from trainers.run.show.pens import Pixels, Vectors

COLOURS = ("#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2", "#be185d", "#4b5563")
GRID = "#e5e7eb"
SIZE = (640, 360)
FINE = 3  # drawn this much larger, then shrunk, for smooth lines
Points = Sequence[tuple[float, float]]
Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels


class Pen(Protocol):
    """What draws; all numbers are pixels of the finished picture."""

    def line(self, points: Points, colour: str, width: float, *, dashed: bool = False) -> None:
        """Draw a line through points."""

    def dot(self, x: float, y: float, colour: str) -> None:
        """Draw a small circle."""

    def box(self, box: Box, colour: str) -> None:
        """Fill a rectangle."""

    def text(self, x: float, y: float, text: str, *, size: int = 12, anchor: str = "la") -> None:
        """Write; anchor: l, m or r across, then a (above the text) or m (its middle)."""


def curves(
    lines: Mapping[str, Points],
    *,
    title: str,
    across: str,
    tenfold: bool = False,
    whole: bool = True,
    colours: Sequence[str] = COLOURS,
    dashed: Collection[str] = (),
    spread: Mapping[str, Points] | None = None,
) -> Image.Image:
    """Draw lines over a common grid.

    Args:
        lines: the points of each line by its name; points that are not finite are left out.
        title: the heading.
        across: what the horizontal axis counts.
        tenfold: let that axis, whose values are above 0, grow by factors.
        whole: label that axis with whole numbers alone, as counts are; where it grows by factors,
            with powers of ten alone.
        colours: of the lines, in turn.
        dashed: names of the lines that are dashed.
        spread: for each point of some lines, all finite, the lowest and the highest value that
            it is the mean of; drawn as an upright stroke.

    Returns:
        A picture of 640 x 360 pixels.
    """
    pen = Pixels(SIZE, fine=FINE)
    _draw(pen, lines, title, across, tenfold, whole, colours, dashed, spread or {})
    return pen.picture()


def vector_curves(
    lines: Mapping[str, Points],
    *,
    title: str,
    across: str,
    tenfold: bool = False,
    whole: bool = True,
    colours: Sequence[str] = COLOURS,
    dashed: Collection[str] = (),
    spread: Mapping[str, Points] | None = None,
) -> str:
    """Return the same as SVG; see `curves`."""
    pen = Vectors(SIZE)
    _draw(pen, lines, title, across, tenfold, whole, colours, dashed, spread or {})
    return pen.picture()


def _draw(
    pen: Pen,
    lines: Mapping[str, Points],
    title: str,
    across: str,
    tenfold: bool,
    whole: bool,
    colours: Sequence[str],
    dashed: Collection[str],
    spread: Mapping[str, Points],
) -> None:
    finite = {
        name: [(math.log10(x) if tenfold else x, y) for x, y in points if math.isfinite(y)]
        for name, points in lines.items()
    }
    values = [x for points in finite.values() for x, _ in points]
    xs = factors(values) if tenfold and not whole else ticks(values, whole=whole)
    ends = [y for pairs in spread.values() for pair in pairs for y in pair]
    ys = ticks([y for points in finite.values() for _, y in points] + ends)
    legend = 150 if len(finite) > 1 else 20
    box = (56, 36, SIZE[0] - legend, SIZE[1] - 44)
    pen.text(box[0], 10, title, size=14)
    pen.text(box[2], box[3] + 22, across, anchor="ra")
    _grid(pen, box, {x: f"{10**x if tenfold else x:g}" for x in xs}, ys)
    for i, (name, points) in enumerate(finite.items()):
        colour = colours[i % len(colours)]
        places = [(_at(x, xs, box[0], box[2]), _at(y, ys, box[3], box[1])) for x, y in points]
        if len(places) > 1:
            pen.line(places, colour, 2, dashed=name in dashed)
        for (x, _), pair in zip(places, spread.get(name, []), strict=False):
            pen.line([(x, _at(y, ys, box[3], box[1])) for y in pair], colour, 1)
        few = len(places) == 1 or (len(places) <= 12 and name not in dashed)
        for x, y in places if few else []:
            pen.dot(x, y, colour)
        if len(finite) > 1:
            _key(pen, box[2] + 14, box[1] + i * 18, name, colour, dashed=name in dashed)


def _key(pen: Pen, left: float, top: float, name: str, colour: str, *, dashed: bool) -> None:
    """Draw one line of the legend."""
    if dashed:
        pen.line([(left - 4, top + 5), (left + 12, top + 5)], colour, 2, dashed=True)
    else:
        pen.box((left, top, left + 10, top + 10), colour)
    pen.text(left + 16, top - 2, name)


def ticks(values: Sequence[float], *, whole: bool = False) -> list[float]:
    """Return about five round (or whole) numbers that enclose the values.

    >>> ticks([0.12, 0.9])
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    span = (high - low) or max(abs(high), 1.0)
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= span / 5.5)
    if whole:
        step = max(1.0, step)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(i * step, 12) for i in range(first, max(last, first + 1) + 1)]


def factors(logarithms: Sequence[float]) -> list[float]:
    """Return the logarithms of 1, 2 or 5 times powers of ten that enclose some.

    >>> [round(10**x) for x in factors([math.log10(3), math.log10(70)])]
    [2, 5, 10, 20, 50, 100]
    """
    low, high = (min(logarithms), max(logarithms)) if logarithms else (0.0, 1.0)
    powers = range(math.floor(low) - 1, math.ceil(high) + 2)
    every = [math.log10(m) + power for power in powers for m in (1, 2, 5)]
    first = max(i for i, x in enumerate(every) if x <= low + 1e-9)
    last = min(i for i, x in enumerate(every) if x >= high - 1e-9)
    return every[first : max(last, first + 1) + 1]


def _at(value: float, axis: Sequence[float], start: float, end: float) -> float:
    """Return where a value lies between the pixels of an axis' ends."""
    return start + (value - axis[0]) / (axis[-1] - axis[0]) * (end - start)


def _grid(pen: Pen, box: Box, xs: Mapping[float, str], ys: Sequence[float]) -> None:
    """Draw both axes' ticks, the horizontal one's with the labels given."""
    left, top, right, bottom = box
    for x, label in xs.items():
        at = _at(x, list(xs), left, right)
        pen.line([(at, top), (at, bottom)], GRID, 1)
        pen.text(at, bottom + 4, label, anchor="ma")
    for y in ys:
        at = _at(y, ys, bottom, top)
        pen.line([(left, at), (right, at)], GRID, 1)
        pen.text(left - 6, at, f"{y:g}", anchor="rm")
