"""Clips as pictures: strips of frames, also with the weight of each, and animated GIFs."""

from __future__ import annotations

import io
from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from trainers.run.show.images import (
    CAPTION,
    FONT,
    INK,
    PAD,
    TITLE,
    Pair,
    blank_sheet,
    choose_factor,
    draw_sheet,
    to_image,
)

FRAMES = 8  # of a clip in a strip
SIDE = 96  # pixels of the shorter side of a frame in a strip, about
DELAY = 120  # milliseconds a frame of an animation
BAR = 36  # pixels of the heaviest frame's bar
PLAIN, CHOSEN = "#9ca3af", "#dc2626"
SHOWN = 16  # frames of a clip with their weights at most


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
    factor = choose_factor(pairs)
    title = f"frames: original, perturbed, difference times {factor} around grey"
    image, pen = blank_sheet(size, title)
    for place, pair in enumerate(pairs):
        top = TITLE + place * block
        caption = f"{pair.before}   then   {pair.after}   (mean change {pair.mean_change:.4f})"
        pen.text((PAD, top), caption, fill=INK, font=FONT)
        for down, clip in enumerate(pair.tiles(factor)):
            for across, frame in enumerate(shown):
                place_at = (PAD + across * cell_w, top + CAPTION + down * cell_h)
                image.paste(to_image(clip[:, frame], scale), place_at)
    return image


def frame_heat_map(
    x: Tensor, weights: Tensor, captions: Sequence[str], *, keyframes: Tensor | None = None
) -> Image.Image:
    """Draw a row for each clip: its frames, and under each a bar as long as it is heavy.

    The heaviest frame of a clip has the longest bar; of a long clip frames are shown at even
    distances, each keeping its number.

    Args:
        x: clips (B, C, T, H, W) in [0, 1].
        weights: of the frames, (B, T), such as of `attacks.frame_weights`; below 0 counts as 0.
        captions: one for each clip.
        keyframes: frames to mark in red, bool (B, T); None for none.
    """
    frames, height, width = x.shape[2:]
    scale = max(1, round(64 / width))
    cell, row = width * scale + PAD // 2, CAPTION + height * scale + BAR + CAPTION
    places = torch.linspace(0, frames - 1, min(frames, SHOWN)).round().long().tolist()
    title = "weight of each frame" + ("" if keyframes is None else "; keyframes in red")
    size = (max(2 * PAD + len(places) * cell, 320), TITLE + len(x) * row + PAD)
    image, pen = blank_sheet(size, title)
    share = weights.detach().cpu().clamp_min(0)
    share = share / share.amax(1, keepdim=True).clamp_min(torch.finfo(share.dtype).tiny)  # (B, T)
    for i, caption in enumerate(captions):
        top = TITLE + i * row
        pen.text((PAD, top), caption, fill=INK, font=FONT)
        for j, frame in enumerate(places):
            left, upper = PAD + j * cell, top + CAPTION
            marked = keyframes is not None and bool(keyframes[i, frame])
            colour = CHOSEN if marked else PLAIN
            image.paste(to_image(x[i, :, frame], scale), (left, upper))
            base = upper + height * scale + 2
            box = (left, base, left + width * scale - 1, base + round(BAR * float(share[i, frame])))
            pen.rectangle(box, fill=colour)
            number = (left + width * scale / 2, base + BAR + 2)
            pen.text(number, str(frame), fill=colour if marked else INK, font=FONT, anchor="ma")
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
