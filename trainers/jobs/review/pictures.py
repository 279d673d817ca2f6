"""Samples as PNG files: all frames of a clip side by side, or as an animation."""

import io
import math

import torch
from PIL import Image
from torch import Tensor

from trainers.run.show.images import DELAY, Pair, choose_factor, is_clip, to_image


def columns(frames: int) -> int:
    """Return how many frames of a clip stand in a row of its sprite.

    >>> columns(1), columns(16), columns(17)
    (1, 4, 5)
    """
    return math.isqrt(frames - 1) + 1


def encode_sprite(x: Tensor) -> bytes:
    """Return a sample as one PNG; the frames of a clip stand in rows of `columns(T)`.

    Args:
        x: (C, H, W) or (C, T, H, W) in [0, 1].
    """
    frames = [to_image(frame) for frame in _frames(x)]
    across = columns(len(frames))
    width, height = frames[0].size
    sprite = Image.new(frames[0].mode, (across * width, -(-len(frames) // across) * height))
    for number, frame in enumerate(frames):
        sprite.paste(frame, (number % across * width, number // across * height))
    return _png(sprite)


def encode_animation(x: Tensor) -> bytes:
    """Return a sample as a PNG that needs no player; that of a clip (C, T, H, W) is animated."""
    first, *others = map(to_image, _frames(x))
    return _png(first, others)


def _png(image: Image.Image, others: list[Image.Image] | None = None) -> bytes:
    buffer = io.BytesIO()
    if others:
        image.save(buffer, "PNG", save_all=True, append_images=others, duration=DELAY, loop=0)
    else:
        image.save(buffer, "PNG")
    return buffer.getvalue()


def difference(x_adv: Tensor, x: Tensor) -> tuple[Tensor, int]:
    """Return what was changed, times a factor around grey, like x, and the factor."""
    pair = Pair(x, x_adv, "", "")
    factor = choose_factor([pair])
    return pair.tiles(factor)[2], factor


def _frames(x: Tensor) -> list[Tensor]:
    """Return the frames (C, H, W) of a sample, with one channel or three."""
    x = x if len(x) in (1, 3) else x[:1]
    return list(torch.unbind(x, 1)) if is_clip(x) else [x]
