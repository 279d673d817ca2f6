"""A bar chart on a logarithmic axis, drawn with Pillow alone."""

import math
from collections.abc import Mapping

from PIL import Image, ImageDraw, ImageFont

from trainers.run.show.pens import INK
from trainers.run.show.plots import COLOURS, FINE, GRID

WIDTH, LEFT, RIGHT = 640 * FINE, 130 * FINE, 50 * FINE
BAR, GAP, TOP, FOOT = 15 * FINE, 26 * FINE, 60 * FINE, 40 * FINE
TICKS = [m * 10.0**power for power in range(-4, 5) for m in (1, 2, 5)]


def bars(groups: Mapping[str, Mapping[str, float]], *, title: str, across: str) -> Image.Image:
    """Draw a group of bars for each row, from 1 to its values, positive numbers.

    Args:
        groups: the values by the name of their bar, by the name of their group.
        title: the heading.
        across: what the horizontal axis shows.
    """
    values = [1.0, *(v for group in groups.values() for v in group.values())]
    low = max(tick for tick in TICKS if tick <= min(values))
    high = min(tick for tick in TICKS if tick >= max(max(values), 2 * low))
    bottom = TOP + sum(len(group) * BAR + GAP for group in groups.values())
    image = Image.new("RGB", (WIDTH, bottom + FOOT), "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(11 * FINE)

    def place(value: float) -> float:
        return LEFT + math.log(value / low) / math.log(high / low) * (WIDTH - LEFT - RIGHT)

    pen.text((10 * FINE, 10 * FINE), title, fill=INK, font=ImageFont.load_default(14 * FINE))
    pen.text((place(high), bottom + 18 * FINE), across, fill=INK, font=font, anchor="ra")
    for tick in (tick for tick in TICKS if low <= tick <= high):
        pen.line((place(tick), TOP - GAP, place(tick), bottom), fill=GRID, width=FINE)
        pen.text((place(tick), bottom), f"{tick:g}", fill=INK, font=font, anchor="ma")
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    top = TOP
    for heading, members in groups.items():
        pen.text((10 * FINE, top - BAR), heading, fill=INK, font=font)
        for name, value in members.items():
            left, right = sorted((place(1), place(value)))
            colour = COLOURS[names.index(name) % len(COLOURS)]
            pen.rectangle((left, top, right + FINE, top + BAR - 3 * FINE), fill=colour)
            pen.text((LEFT - 8 * FINE, top), name, fill=INK, font=font, anchor="ra")
            pen.text((right + 5 * FINE, top), f"{value:.2f}", fill=INK, font=font)
            top += BAR
        top += GAP
    return image.resize((WIDTH // FINE, image.height // FINE), Image.Resampling.LANCZOS)
