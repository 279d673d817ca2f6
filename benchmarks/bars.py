"""A bar chart of ratios on a logarithmic axis, drawn with Pillow alone."""

import math
from collections.abc import Callable, Mapping

from PIL import Image, ImageDraw, ImageFont

from trainers.run.plots import COLOURS, FINE, GRID, INK

WIDTH, LEFT, RIGHT = 640 * FINE, 210 * FINE, 60 * FINE
BAR, GAP, TOP, FOOT = 16 * FINE, 14 * FINE, 40 * FINE, 40 * FINE
ROUND = [m * 10.0**power for power in range(-4, 5) for m in (1, 2, 5)]
Place = Callable[[float], float]  # from a value to the pixel across


def bars(groups: Mapping[str, Mapping[str, float]], *, title: str, across: str) -> Image.Image:
    """Draw a group of bars for each row, from 1 to its values, positive numbers.

    Args:
        groups: the values by the name of their bar, by the name of their group.
        title: the heading.
        across: what the horizontal axis shows.
    """
    values = [1.0, *(v for group in groups.values() for v in group.values())]
    low = max(tick for tick in ROUND if tick <= min(values))
    high = min(tick for tick in ROUND if tick >= max(max(values), 2 * low))
    height = TOP + sum(len(group) * BAR + GAP for group in groups.values()) + FOOT
    image = Image.new("RGB", (WIDTH, height), "white")
    pen = ImageDraw.Draw(image)

    def place(value: float) -> float:
        return LEFT + math.log(value / low) / math.log(high / low) * (WIDTH - LEFT - RIGHT)

    pen.text((10 * FINE, 10 * FINE), title, fill=INK, font=ImageFont.load_default(14 * FINE))
    _text(pen, place(high), height - FOOT + 18 * FINE, across, anchor="ra")
    for tick in (tick for tick in ROUND if low <= tick <= high):
        pen.line((place(tick), TOP, place(tick), height - FOOT), fill=GRID, width=FINE)
        _text(pen, place(tick), height - FOOT, f"{tick:g}", anchor="ma")
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
    top = TOP
    for heading, members in groups.items():
        _text(pen, 10 * FINE, top, heading)
        for name, value in members.items():
            _bar(pen, top, name, value, place=place, colour=colours[name])
            top += BAR
        top += GAP
    return image.resize((WIDTH // FINE, height // FINE), Image.Resampling.LANCZOS)


def _bar(
    pen: ImageDraw.ImageDraw, top: int, name: str, value: float, *, place: Place, colour: str
) -> None:
    """Draw one bar with its name before it and its value behind it."""
    left, right = sorted((place(1), place(value)))
    pen.rectangle((left, top, right + FINE, top + BAR - 3 * FINE), fill=colour)
    _text(pen, LEFT - 8 * FINE, top, name, anchor="ra")
    _text(pen, right + 5 * FINE, top, f"{value:.2f}")


def _text(
    pen: ImageDraw.ImageDraw, left: float, top: float, text: str, *, anchor: str = "la"
) -> None:
    pen.text((left, top), text, fill=INK, font=ImageFont.load_default(11 * FINE), anchor=anchor)
