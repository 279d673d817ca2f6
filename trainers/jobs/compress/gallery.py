"""Pages of pictures: samples, their codes, and what is decoded."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from compress import Codec
from compress.decoding import decode_quantised
from compress.file_format import CodeFile
from trainers.run.show.images import (
    CAPTION,
    FONT,
    INK,
    PAD,
    TITLE,
    blank_sheet,
    is_clip,
    to_image,
)

SIDE = 112  # pixels of a picture's width, about
TALLEST = 4 * SIDE  # and of its height, at most
PLUS, MINUS = (0.145, 0.388, 0.922), (0.863, 0.149, 0.149)  # colours of coefficients


class Cell(NamedTuple):
    """A picture (C, H, W) in [0, 1], or a clip (C, T, H, W), and what stands below it."""

    x: Tensor
    caption: str = ""


def draw_gallery(
    rows: Sequence[Sequence[Cell]], *, heads: Sequence[str], title: str
) -> Image.Image:
    """Lay out rows of pictures below the heads of their columns; of clips the middle frame.

    Args:
        rows: as many cells each as there are heads; of several sizes, each is fitted into a square.
        heads: what each column shows.
        title: the heading.
    """
    sizes = {tuple(cell.x.shape[-2:]) for cells in rows for cell in cells}
    height, width = sizes.pop() if len(sizes) == 1 else (2 * SIDE, 2 * SIDE)
    scale = SIDE / width if width < SIDE / 2 else min(1.0, 2 * SIDE / width)
    scale = min(scale, TALLEST / height)
    scale = round(scale) if scale > 1 else scale
    wide, high = max(1, round(width * scale)), max(1, round(height * scale))
    texts = [*heads, *(cell.caption for cells in rows for cell in cells)]
    cell_w = max(wide, *(round(FONT.getlength(text)) for text in texts)) + PAD
    cell_h = high + CAPTION + PAD
    least = round(FONT.getlength(title)) + 2 * PAD
    size = (max(len(heads) * cell_w + PAD, least), TITLE + CAPTION + len(rows) * cell_h + PAD)
    image, pen = blank_sheet(size, title)
    for column, head in enumerate(heads):
        pen.text((PAD + column * cell_w, TITLE), head, fill=INK, font=FONT)
    for down, cells in enumerate(rows):
        top = TITLE + CAPTION + down * cell_h
        for column, cell in enumerate(cells):
            left = PAD + column * cell_w
            picture = _fitted(to_image(_still(cell.x)).convert("RGB"), wide, high, scale)
            image.paste(picture, (left, top))
            pen.text((left, top + high + 2), cell.caption, fill=INK, font=FONT)
    return image


def _fitted(picture: Image.Image, wide: int, high: int, scale: float) -> Image.Image:
    """Return a picture of so many pixels, or where its form is another, of fewer."""
    own = min(wide / picture.width, high / picture.height)
    size = max(1, round(picture.width * own)), max(1, round(picture.height * own))
    if round(picture.width * scale) == wide and round(picture.height * scale) == high:
        size, own = (wide, high), scale
    return picture.resize(size, Image.Resampling.NEAREST if own >= 1 else Image.Resampling.BOX)


def _still(x: Tensor) -> Tensor:
    """Return a picture, of a clip its middle frame, with one channel or three, (C, H, W)."""
    still = x[:, x.shape[1] // 2] if is_clip(x) else x
    return still if len(still) in (1, 3) else still[:1]


def first_coefficients(file: CodeFile, codec: Codec, count: int) -> list[Tensor]:
    """Return the whole numbers of the first samples of a parsed file, each (C, T, H, W)."""
    found: list[Tensor] = []
    for q in decode_quantised(file, codec.tables):
        found += q.volumes.int()
        if len(found) >= count:
            break
    return found[:count]


def draw_coefficients(q: Tensor) -> Cell:
    """Return the whole numbers (C, T, H, W) of a sample as a picture (3, H, W), counted.

    White is 0, blue above and red below it, the darker the larger; where channels and frames
    lie over each other, the one farthest from 0 shows.
    """
    flat = q.flatten(0, 1).numpy()  # (C * T, H, W)
    most = np.take_along_axis(flat, np.abs(flat).argmax(0)[None], 0)[0]  # (H, W)
    value = torch.from_numpy(most).float()
    strength = value.abs().log1p() / value.abs().max().log1p().clamp_min(1)
    strength = torch.where(value != 0, 0.35 + 0.65 * strength, strength)
    plus, minus = (torch.tensor(colour).view(3, 1, 1) for colour in (PLUS, MINUS))
    colour = torch.where(value > 0, plus, minus)  # (3, H, W)
    return Cell(1 - strength * (1 - colour), f"{int((q != 0).sum())} not 0")
