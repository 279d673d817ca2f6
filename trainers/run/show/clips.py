"""Clips as pictures: strips of frames, and animated GIFs."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw
from torch import Tensor

from trainers.run.show.images import (
    FONT,
    INK,
    PAD,
    TITLE,
    Pair,
    choose_factor,
    draw_sheet,
    to_image,
)

FRAMES = 8  # of a clip in a strip
SIDE = 96  # pixels of the shorter side of a frame in a strip, about
CAPTION = 20
DELAY = 120  # milliseconds a frame of an animation


def draw_strips(pairs: Sequence[Pair]) -> Image.Image:
    """Lay out clips (C, T, H, W), three rows each: original, perturbed, difference.

    Source: Rey-de-Castro & Rabitz 2018, figure 5.
    """
    frames, height, width = pairs[0].x.shape[1:]
    shown = [i * frames // min(FRAMES, frames) for i in range(min(FRAMES, frames))]
    scale = max(1, round(SIDE / min(height, width)))
    cell_w, cell_h = width * scale + 2, height * scale + 2
    block = CAPTION + 3 * cell_h + PAD
    size = (len(shown) * cell_w + 2 * PAD, TITLE + len(pairs) * block)
    image = Image.new("RGB", size, "white")
    pen, factor = ImageDraw.Draw(image), choose_factor(pairs)
    title = f"frames: original, perturbed, difference times {factor} around grey"
    pen.text((PAD, PAD), title, fill=INK, font=FONT)
    for place, pair in enumerate(pairs):
        top = TITLE + place * block
        caption = f"{pair.before}   then   {pair.after}   (mean change {pair.mean_change:.4f})"
        pen.text((PAD, top), caption, fill=INK, font=FONT)
        for down, clip in enumerate(pair.tiles(factor)):
            for across, frame in enumerate(shown):
                place_at = (PAD + across * cell_w, top + CAPTION + down * cell_h)
                image.paste(to_image(clip[:, frame], scale), place_at)
    return image


def encode_gif(pairs: Sequence[Pair]) -> bytes:
    """Return clips (C, T, H, W) as an animated GIF: original | perturbed | difference."""
    factor = choose_factor(pairs)
    pages = [
        draw_sheet([_frame(pair, t) for pair in pairs], factor=factor)
        for t in range(pairs[0].x.shape[1])
    ]
    buffer = io.BytesIO()
    # One palette for all pages would show the difference in a few greys alone.
    pages = [page.quantize(256, dither=Image.Dither.NONE) for page in pages]
    pages[0].save(buffer, "GIF", save_all=True, append_images=pages[1:], duration=DELAY, loop=0)
    return buffer.getvalue()


def _frame(pair: Pair, t: int) -> Pair:
    x, x_adv = (clip[:, t] for clip in pair[:2])  # (C, H, W)
    return Pair(x, x_adv, pair.before, pair.after)


def is_clip(x: Tensor) -> bool:
    """Tell whether a sample is a clip (C, T, H, W) rather than an image (C, H, W)."""
    return x.ndim == 4
