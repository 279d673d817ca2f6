"""A line chart as a picture, drawn with Pillow alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

COLOURS = ("#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2", "#be185d", "#4b5563")
GRID, INK = "#e5e7eb", "#222222"
SIZE = (640, 360)
FINE = 3  # drawn this much larger, then shrunk, for smooth lines
Points = Sequence[tuple[float, float]]
Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels


def curves(
    lines: Mapping[str, Points],
    *,
    title: str,
    across: str,
    tenfold: bool = False,
    whole: bool = True,
    colours: Sequence[str] = COLOURS,
    spread: Mapping[str, Sequence[tuple[float, float]]] | None = None,
) -> Image.Image:
    """Draw lines over a common grid.

    Args:
        lines: the points of each line by its name; points that are not finite are left out.
        title: the heading.
        across: what the horizontal axis counts.
        tenfold: let each step of that axis, whose values are above 0, be ten times the last.
        whole: label that axis with whole numbers alone, as counts are.
        colours: of the lines, in turn.
        spread: for each point of some lines, all finite, the lowest and the highest value that
            it is the mean of; drawn as an upright stroke.

    Returns:
        A picture of 640 x 360 pixels.
    """
    finite = {
        name: [(math.log10(x) if tenfold else x, y) for x, y in points if math.isfinite(y)]
        for name, points in lines.items()
    }
    xs = ticks([x for points in finite.values() for x, _ in points], whole=whole)
    spread = spread or {}
    ends = [y for pairs in spread.values() for pair in pairs for y in pair]
    ys = ticks([y for points in finite.values() for _, y in points] + ends)
    image = Image.new("RGB", (SIZE[0] * FINE, SIZE[1] * FINE), "white")
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(12 * FINE)
    legend = 150 * FINE if len(finite) > 1 else 20 * FINE
    box = (56 * FINE, 36 * FINE, SIZE[0] * FINE - legend, SIZE[1] * FINE - 44 * FINE)
    pen.text((box[0], 10 * FINE), title, fill=INK, font=ImageFont.load_default(14 * FINE))
    pen.text((box[2], box[3] + 22 * FINE), across, fill=INK, font=font, anchor="ra")
    _grid(pen, box, {x: f"{10**x if tenfold else x:g}" for x in xs}, ys, font)
    for i, (name, points) in enumerate(finite.items()):
        colour = colours[i % len(colours)]
        _line(pen, box, points, spread.get(name, []), axes=(xs, ys), colour=colour)
        if len(finite) > 1:
            top = box[1] + i * 18 * FINE
            pen.rectangle(
                (box[2] + 14 * FINE, top, box[2] + 24 * FINE, top + 10 * FINE), fill=colour
            )
            pen.text((box[2] + 30 * FINE, top - 2 * FINE), name, fill=INK, font=font)
    return image.resize(SIZE, Image.Resampling.LANCZOS)


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


def _line(
    pen: ImageDraw.ImageDraw,
    box: Box,
    points: Points,
    spread: Points,
    *,
    axes: tuple[Sequence[float], Sequence[float]],
    colour: str,
) -> None:
    """Draw one line, a dot for each point of a short one, and how far each point spreads."""
    (xs, ys), (left, top, right, bottom) = axes, box
    places = [(_at(x, xs, left, right), _at(y, ys, bottom, top)) for x, y in points]
    if len(places) > 1:
        pen.line(places, fill=colour, width=2 * FINE, joint="curve")
    for (x, _), pair in zip(places, spread, strict=False):
        pen.line([(x, _at(y, ys, bottom, top)) for y in pair], fill=colour, width=FINE)
    for x, y in places if len(places) <= 12 else []:
        pen.circle((x, y), 3 * FINE, fill=colour)


def _at(value: float, axis: Sequence[float], start: float, end: float) -> float:
    """Return where a value lies between the pixels of an axis' ends."""
    return start + (value - axis[0]) / (axis[-1] - axis[0]) * (end - start)


def _grid(
    pen: ImageDraw.ImageDraw,
    box: Box,
    xs: Mapping[float, str],
    ys: Sequence[float],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    """Draw both axes' ticks, the horizontal one's with the labels given."""
    left, top, right, bottom = box
    for x, label in xs.items():
        at = _at(x, list(xs), left, right)
        pen.line((at, top, at, bottom), fill=GRID, width=FINE)
        pen.text((at, bottom + 4 * FINE), label, fill=INK, font=font, anchor="ma")
    for y in ys:
        at = _at(y, ys, bottom, top)
        pen.line((left, at, right, at), fill=GRID, width=FINE)
        pen.text((left - 6 * FINE, at), f"{y:g}", fill=INK, font=font, anchor="rm")
