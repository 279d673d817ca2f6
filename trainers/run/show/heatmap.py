"""The weight of each frame of a clip to a classifier, as bars below the frames."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from trainers.run.show.images import CAPTION, FONT, INK, PAD, TITLE, to_image

BAR = 36  # pixels of the heaviest frame's bar
PLAIN, CHOSEN = "#9ca3af", "#dc2626"
SHOWN = 16  # frames of a clip at most


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
    size = (2 * PAD + len(places) * cell, TITLE + len(x) * row + PAD)
    image = Image.new("RGB", (max(size[0], 320), size[1]), "white")
    pen = ImageDraw.Draw(image)
    title = "weight of each frame" + ("" if keyframes is None else "; keyframes in red")
    pen.text((PAD, PAD), title, fill=INK, font=FONT)
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
