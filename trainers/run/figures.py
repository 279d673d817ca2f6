"""Pictures for the eye: original | perturbed | difference, and loss histories."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from attacks.atomic import write_bytes
from trainers.evaluation import AttackedBatch, predict
from trainers.run.plots import curves

FACTORS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
SHOWN = 8  # samples in a picture
PAD, CAPTION, TITLE = 8, 20, 34  # pixels
FONT = ImageFont.load_default(13)
INK = "#222222"


class Pair(NamedTuple):
    """A sample before and after, (C, H, W) in [0, 1], and a caption for each."""

    x: Tensor
    x_adv: Tensor
    before: str
    after: str


def draw_batch(
    stem: Path, model: nn.Module, batch: AttackedBatch, classes: Sequence[str]
) -> list[Path]:
    """Write STEM-samples.png, and STEM-loss.png when the attack took several steps.

    Args:
        stem: where to, and how the names begin.
        model: the attacked classifier, asked for its answers.
        batch: one attacked batch.
        classes: names of the classes.

    Returns:
        The files.
    """
    ranked = torch.argsort(~batch.clean, stable=True).cpu()  # those once right first
    pool = ranked[: max(SHOWN, int(batch.clean.sum()))]
    count = min(SHOWN, len(pool))
    order = pool[torch.arange(count) * len(pool) // count]  # spread, for data sorted by class
    pairs = pairs_of(model, batch, order, classes)
    files = {stem.with_name(f"{stem.name}-samples.png"): sheet(pairs)}
    if batch.result.history is not None and len(batch.result.history) > 1:
        history = batch.result.history.cpu()[:, order].T.tolist()  # (samples, steps)
        lines = {f"sample {i + 1}": list(enumerate(line)) for i, line in enumerate(history)}
        name = stem.with_name(f"{stem.name}-loss.png")
        files[name] = curves(lines, title="Loss of each sample", across="step")
    for file, image in files.items():
        write_png(file, image)
    return list(files)


def pairs_of(
    model: nn.Module, batch: AttackedBatch, order: Tensor, classes: Sequence[str]
) -> list[Pair]:
    """Take some samples of a batch, order (N,), and caption them with the classifier's answers."""
    x, x_adv = (t.cpu()[order] for t in (batch.result.x, batch.result.x_adv))
    device = batch.result.x.device
    before, after = (predict(model, t.to(device)).softmax(1).max(1) for t in (x, x_adv))
    return [
        Pair(x[i], x_adv[i], _says(before, i, classes), _says(after, i, classes))
        for i in range(len(order))
    ]


def _says(top: torch.return_types.max, row: int, classes: Sequence[str]) -> str:
    """Return the classifier's answer for a row, with its score."""
    number = int(top.indices[row])
    name = classes[number] if number < len(classes) else str(number)
    return f"{name}  {float(top.values[row]):.2f}"


def sheet(pairs: Sequence[Pair]) -> Image.Image:
    """Lay out pairs, two to a line, each as original | perturbed | difference."""
    height, width = pairs[0].x.shape[-2:]
    scale = max(1, round(120 / width)) if width < 120 else 1
    cell_w, cell_h = width * scale + PAD, height * scale + CAPTION + PAD
    across = min(2, len(pairs))
    down = -(-len(pairs) // across)
    size = (across * (3 * cell_w + 2 * PAD), TITLE + down * cell_h + PAD)
    image = Image.new("RGB", size, "white")
    # The few largest changes may saturate: by them alone most differences would look grey.
    common = max(float((p.x_adv - p.x).abs().flatten().quantile(0.95)) for p in pairs)
    factor = amplification(common)
    pen = ImageDraw.Draw(image)
    title = f"original | perturbed | difference, times {factor} around grey"
    pen.text((PAD, PAD), title, fill=INK, font=FONT)
    for place, pair in enumerate(pairs):
        left = (place % across) * (3 * cell_w + 2 * PAD) + PAD
        top = TITLE + (place // across) * cell_h
        mean = float((pair.x_adv - pair.x).abs().mean())
        tiles = (pair.x, pair.x_adv, 0.5 + factor * (pair.x_adv - pair.x))
        captions = (pair.before, pair.after, f"mean {mean:.4f}")
        for tile, caption in zip(tiles, captions, strict=True):
            image.paste(to_image(tile, scale), (left, top))
            pen.text((left, top + height * scale + 2), _fit(caption, cell_w), fill=INK, font=FONT)
            left += cell_w
    return image


def _fit(text: str, width: int) -> str:
    """Cut a caption to the width of its picture, score and all."""
    while FONT.getlength(text) > width - PAD and len(text) > 8:
        name, gap, score = text.rpartition("  ")
        text = f"{name[:-2].rstrip('…')}…{gap}{score}" if gap else text[:-2]
    return text


def amplification(largest: float) -> int:
    """Return the round factor that makes a difference visible without cutting it off.

    >>> amplification(0.1)
    5
    """
    return max([factor for factor in FACTORS if factor * largest <= 0.5], default=1)


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
