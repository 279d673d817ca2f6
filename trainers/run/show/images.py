"""Samples as pictures: sheets of original | perturbed | difference, strips of frames, GIFs."""

import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from attacks.files import write_bytes
from trainers.evenly_spaced import evenly_spaced

FACTORS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
PAD, CAPTION, TITLE = 8, 20, 34  # pixels
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
FONT = ImageFont.load_default(13)
INK = "#222222"
FRAMES = 8  # of a clip in a strip
SIDE = 96  # pixels of the shorter side of a frame in a strip, about
DELAY = 120  # milliseconds a frame of an animation
BAR = 36  # pixels of the heaviest frame's bar
PLAIN, CHOSEN = "#9ca3af", "#dc2626"
SHOWN = 16  # frames of a clip with their weights at most


class Pair(NamedTuple):
    """A sample before and after, (C, H, W) in [0, 1], and a caption for each."""

    x: Tensor
    x_adv: Tensor
    before: str
    after: str

    @property
    def mean_change(self) -> float:
        """Mean |x_adv - x|."""
        return float((self.x_adv - self.x).abs().mean())

    def tiles(self, factor: float) -> tuple[Tensor, Tensor, Tensor]:
        """Return original, perturbed, and the difference times a factor around grey."""
        return self.x, self.x_adv, 0.5 + factor * (self.x_adv - self.x)


def choose_factor(pairs: Sequence[Pair]) -> int:
    """Return the factor that makes the differences of all pairs visible."""
    # The few largest changes may saturate: by them alone most differences would look grey.
    return amplification(max(_quantile((p.x_adv - p.x).abs(), 0.95) for p in pairs))


def _quantile(values: Tensor, share: float) -> float:
    """Return a quantile; torch's own takes at most 16 million values, fewer than a clip has."""
    place = max(1, math.ceil(share * values.numel()))
    return float(values.flatten().kthvalue(place).values)


def blank_sheet(size: tuple[int, int], title: str) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """Return a white picture (width, height) below a title, and a pen for it."""
    image = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(image)
    pen.text((PAD, PAD), title, fill=INK, font=FONT)
    return image, pen


def draw_sheet(pairs: Sequence[Pair], *, factor: int | None = None) -> Image.Image:
    """Lay out pairs, two to a line, each as original | perturbed | difference.

    Args:
        pairs: images before and after.
        factor: of the differences; None takes `choose_factor(pairs)`.
    """
    height, width = pairs[0].x.shape[-2:]
    scale = max(1, round(120 / width)) if width < 120 else 1
    cell_w, cell_h = width * scale + PAD, height * scale + CAPTION + PAD
    across = min(2, len(pairs))
    down = -(-len(pairs) // across)
    size = (across * (3 * cell_w + 2 * PAD), TITLE + down * cell_h + PAD)
    factor = choose_factor(pairs) if factor is None else factor
    title = f"original | perturbed | difference, times {factor} around grey; mean change of a value"
    image, pen = blank_sheet(size, title)
    for place, pair in enumerate(pairs):
        left = (place % across) * (3 * cell_w + 2 * PAD) + PAD
        top = TITLE + (place // across) * cell_h
        captions = (pair.before, pair.after, f"change {pair.mean_change:.4f}")
        for tile, caption in zip(pair.tiles(factor), captions, strict=True):
            image.paste(to_image(tile, scale), (left, top))
            pen.text(
                (left, top + height * scale + 2), fit_caption(caption, cell_w), fill=INK, font=FONT
            )
            left += cell_w
    return image


def draw_strips(pairs: Sequence[Pair]) -> Image.Image:
    """Lay out clips (C, T, H, W), three rows each: original, perturbed, difference.

    Source: Rey-de-Castro & Rabitz 2018, figure 5.
    """
    frames, height, width = pairs[0].x.shape[1:]
    shown = evenly_spaced(frames, FRAMES)
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
    frames = (
        [pair._replace(x=pair.x[:, t], x_adv=pair.x_adv[:, t]) for pair in pairs]
        for t in range(pairs[0].x.shape[1])
    )
    return animate(draw_sheet(frame, factor=factor) for frame in frames)


def animate(sheets: Iterable[Image.Image]) -> bytes:
    """Return pictures of one size as an animated GIF, which begins again at its end."""
    # One palette for all pages would show the difference in a few greys alone.
    pages = [sheet.quantize(256, dither=Image.Dither.NONE) for sheet in sheets]
    buffer = io.BytesIO()
    pages[0].save(buffer, "GIF", save_all=True, append_images=pages[1:], duration=DELAY, loop=0)
    return buffer.getvalue()


def fit_caption(text: str, width: int, *, font: Font = FONT) -> str:
    """Cut a caption to the width of its picture in pixels, score and all."""
    while font.getlength(text) > width - PAD and len(text) > 8:
        name, gap, score = text.rpartition("  ")
        text = f"{name[:-2].rstrip('…')}…{gap}{score}" if gap else f"{text[:-2].rstrip('…')}…"
    return text


def amplification(largest: float) -> int:
    """Return the round factor that makes a difference visible without cutting it off.

    >>> amplification(0.1)
    5
    """
    return max([factor for factor in FACTORS if factor * largest <= 0.5], default=1)


def is_clip(x: Tensor) -> bool:
    """Tell whether a sample is a clip (C, T, H, W) rather than an image (C, H, W)."""
    return x.ndim == 4


def to_image(x: Tensor, scale: int = 1) -> Image.Image:
    """Return x (C, H, W) in [0, 1], clamped and rounded, as a picture of whole pixels."""
    pixels = to_uint8(x)
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    width, height = image.size
    return image.resize((width * scale, height * scale), Image.Resampling.NEAREST)


def to_uint8(x: Tensor) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    """Round x (C, H, W) in [0, 1] to bytes (H, W, C)."""
    return (x.detach().cpu().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()


def write_png(path: Path, image: Image.Image) -> None:
    """Write a PNG atomically."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    write_bytes(path, buffer.getvalue())
