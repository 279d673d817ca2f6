"""What a chart is drawn with: pixels, or vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from itertools import pairwise

from PIL import Image, ImageDraw, ImageFont

INK = "#222222"
DASH, GAP = 5.0, 4.0  # pixels
DOT = 3  # radius
Points = Sequence[tuple[float, float]]
Box = tuple[float, float, float, float]


class Pixels:
    """Draws with Pillow."""

    def __init__(self, size: tuple[int, int], *, fine: int) -> None:
        """Begin a white picture, `fine` times as large until it is done, for smooth lines."""
        self.size, self.fine = size, fine
        self._image = Image.new("RGB", (size[0] * fine, size[1] * fine), "white")
        self._pen = ImageDraw.Draw(self._image)

    def line(self, points: Points, colour: str, width: float, *, dashed: bool = False) -> None:
        """Draw a line through points."""
        for part in dashes(points) if dashed else [points]:
            places = [(x * self.fine, y * self.fine) for x, y in part]
            self._pen.line(places, fill=colour, width=round(width * self.fine), joint="curve")

    def dot(self, x: float, y: float, colour: str) -> None:
        """Draw a small circle."""
        self._pen.circle((x * self.fine, y * self.fine), DOT * self.fine, fill=colour)

    def box(self, box: Box, colour: str) -> None:
        """Fill a rectangle."""
        left, top, right, bottom = (side * self.fine for side in box)
        self._pen.rectangle((left, top, right, bottom), fill=colour)

    def text(self, x: float, y: float, text: str, *, size: int = 12, anchor: str = "la") -> None:
        """Write."""
        font = ImageFont.load_default(size * self.fine)
        place = (x * self.fine, y * self.fine)
        self._pen.text(place, text, fill=INK, font=font, anchor=anchor)

    def picture(self) -> Image.Image:
        """Return what was drawn."""
        return self._image.resize(self.size, Image.Resampling.LANCZOS)


class Vectors:
    """Writes SVG."""

    def __init__(self, size: tuple[int, int]) -> None:
        """Begin a white picture."""
        width, height = size
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" font-family="system-ui, sans-serif">',
            f'<rect width="{width}" height="{height}" fill="white"/>',
        ]

    def line(self, points: Points, colour: str, width: float, *, dashed: bool = False) -> None:
        """Draw a line through points."""
        places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        broken = f' stroke-dasharray="{DASH:g} {GAP:g}"' if dashed else ""
        self._parts.append(
            f'<polyline points="{places}" fill="none" stroke="{colour}" '
            f'stroke-width="{width:g}"{broken}/>'
        )

    def dot(self, x: float, y: float, colour: str) -> None:
        """Draw a small circle."""
        self._parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{DOT}" fill="{colour}"/>')

    def box(self, box: Box, colour: str) -> None:
        """Fill a rectangle."""
        left, top, right, bottom = box
        self._parts.append(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" '
            f'height="{bottom - top:.1f}" fill="{colour}"/>'
        )

    def text(self, x: float, y: float, text: str, *, size: int = 12, anchor: str = "la") -> None:
        """Write."""
        across = {"l": "start", "m": "middle", "r": "end"}[anchor[0]]
        # From the top or the middle of the letters down to the line that they stand on.
        base = y + size * (0.95 if anchor[1] == "a" else 0.35)
        self._parts.append(
            f'<text x="{x:.1f}" y="{base:.1f}" font-size="{size}" fill="{INK}" '
            f'text-anchor="{across}">{escape(text)}</text>'
        )

    def picture(self) -> str:
        """Return what was drawn."""
        return "\n".join([*self._parts, "</svg>", ""])


def dashes(points: Points) -> list[list[tuple[float, float]]]:
    """Return the dashes of a line through points.

    >>> dashes([(0, 0), (10, 0)])
    [[(0.0, 0.0), (5.0, 0.0)], [(9.0, 0.0), (10.0, 0.0)]]
    """
    found: list[list[tuple[float, float]]] = []
    begun = 0.0  # where along the line, from its start, the present segment begins
    for (x0, y0), (x1, y1) in pairwise(points):
        length = math.hypot(x1 - x0, y1 - y0)
        number = math.floor(begun / (DASH + GAP))
        while length and number * (DASH + GAP) < begun + length:
            ends = [number * (DASH + GAP) - begun, number * (DASH + GAP) + DASH - begun]
            a, b = (min(max(end / length, 0.0), 1.0) for end in ends)
            if b > a:
                found.append([(x0 + t * (x1 - x0), y0 + t * (y1 - y0)) for t in (a, b)])
            number += 1
        begun += length
    return found
