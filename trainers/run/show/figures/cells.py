"""Sheets of small pictures in rows, each picture with its caption: units, patches, neighbours."""

from collections.abc import Sequence
from textwrap import wrap
from typing import NamedTuple

from PIL import Image, ImageDraw
from torch import Tensor

from trainers.run.show.images import (
    CHOSEN,
    FONT,
    INK,
    PAD,
    TITLE,
    blank_sheet,
    fit_caption,
    to_image,
)

SIDE = 112  # pixels of a cell's height
WIDEST = 1120  # pixels of a row of frames
LABEL = 20  # characters of a line of a row's label
LINE = 16  # pixels of a line of a caption
GAP = 28  # pixels behind the first cell of a row, where it is set apart
MARK = 9  # pixels, radius of a ring


class SheetCell(NamedTuple):
    """A picture (C, H, W) in [0, 1], and what is said of it.

    Attributes:
        picture: one of 1 or 3 channels.
        caption: lines below it.
        wrong: whether it is framed, and its caption written, in red.
        mark: (row, column) in its pixels, where a ring is drawn; None for none.
    """

    picture: Tensor
    caption: str
    wrong: bool = False
    mark: tuple[float, float] | None = None


class CellRow(NamedTuple):
    """Cells in a row behind a label.

    Attributes:
        label: lines to their left.
        cells: the cells.
    """

    label: str
    cells: Sequence[SheetCell]


def grid_rows(cells: Sequence[SheetCell], *, columns: int) -> list[CellRow]:
    """Return cells in rows without labels."""
    return [CellRow("", cells[i : i + columns]) for i in range(0, len(cells), columns)]


def draw_cells(
    rows: Sequence[CellRow], *, title: str, side: int = SIDE, apart: bool = False
) -> Image.Image:
    """Draw rows of cells.

    Small pictures are enlarged by a whole factor without smoothing, large ones made smaller.

    Args:
        rows: the cells.
        title: lines above them.
        side: height of a cell in pixels, about.
        apart: whether the first cell of each row is set apart from the others.
    """
    drawn = [[enlarge(cell.picture, side) for cell in row.cells] for row in rows]
    wide = max(image.width for images in drawn for image in images) + PAD
    labels = [_wrapped(row.label) for row in rows]
    label = max(_width_of(text) for text in labels)
    lines = title.split("\n")
    above = TITLE + LINE * (len(lines) - 1)
    heights = [
        max(image.height for image in images)
        + LINE * max(len(cell.caption.split("\n")) for cell in row.cells)
        + PAD
        for row, images in zip(rows, drawn, strict=True)
    ]
    across = max(len(row.cells) for row in rows)
    width = max(_width_of(title), 2 * PAD + label + across * wide + (GAP if apart else 0))
    sheet, pen = blank_sheet((width, above + sum(heights) + PAD), title)
    top = above
    for row, text, images, height in zip(rows, labels, drawn, heights, strict=True):
        pen.multiline_text((PAD, top), text, fill=INK, font=FONT)
        for place, (cell, image) in enumerate(zip(row.cells, images, strict=True)):
            left = PAD + label + place * wide + (GAP if apart and place else 0)
            sheet.paste(image, (left, top))
            _describe(pen, cell, image, (left, top), wide)
        top += height
    return sheet


def _wrapped(label: str) -> str:
    """Return a label in lines that are not too long."""
    return "\n".join(part for line in label.split("\n") for part in wrap(line, LABEL))


def _width_of(text: str) -> int:
    """Return the pixels that lines of text take, with room behind them; 0 for none."""
    return max(round(FONT.getlength(line)) for line in text.split("\n")) + 2 * PAD if text else 0


def enlarge(picture: Tensor, side: int) -> Image.Image:
    """Return a picture (C, H, W) about `side` pixels high, and no wider than a row of frames.

    A small one is enlarged by a whole factor without smoothing.
    """
    height, width = picture.shape[1:]
    scale = min(side / height, WIDEST / width)
    if scale >= 1:
        return to_image(picture, int(scale))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return to_image(picture).resize(size, Image.Resampling.LANCZOS)


def _describe(
    pen: ImageDraw.ImageDraw, cell: SheetCell, image: Image.Image, at: tuple[int, int], wide: int
) -> None:
    """Write a cell's caption, frame it where it is wrong, and draw its ring."""
    left, top = at
    colour = CHOSEN if cell.wrong else INK
    for number, line in enumerate(cell.caption.split("\n")):
        text = fit_caption(line, wide) if FONT.getlength(line) > wide - PAD else line
        pen.text((left, top + image.height + 2 + LINE * number), text, fill=colour, font=FONT)
    if cell.wrong:
        edge = (left - 2, top - 2, left + image.width + 1, top + image.height + 1)
        pen.rectangle(edge, outline=CHOSEN, width=2)
    if cell.mark is not None:
        row, column = cell.mark
        y = top + row * image.height / cell.picture.shape[1]
        x = left + column * image.width / cell.picture.shape[2]
        for radius, ink in ((MARK + 1, "black"), (MARK, "white")):
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=ink, width=2)
