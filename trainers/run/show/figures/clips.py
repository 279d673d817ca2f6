"""What a classifier looked at in a clip: when, as a chart, and where, as an animation."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from explain.perturbation.boxes import energy_over_time
from trainers.evenly_spaced import evenly_spaced
from trainers.run.show.figures.explanation import COLOURS, OVERLAY, ShownMap, show_picture
from trainers.run.show.images import (
    CAPTION,
    DELAY,
    FONT,
    INK,
    PAD,
    SHOWN,
    TITLE,
    blank_sheet,
    to_uint8,
)
from trainers.run.show.plots import add_legend, chart_style, draw_lines

WIDTH = 160  # pixels of a clip in an animation, about
ACROSS = 4  # clips in a row of one


def time_figure(x: Tensor, maps: Sequence[ShownMap], *, title: str) -> Figure:
    """Draw the share of each frame in the energy of a clip's maps, below a strip of the frames.

    Args:
        x: the clip, (C, T, H, W) in [0, 1].
        maps: what is shown, (T, H, W) each; an empty one has no line.
        title: the heading.

    Source: Rey-de-Castro & Rabitz 2018, section 5.2: the difference map of a video over time.
    """
    count = x.shape[1]
    frames = evenly_spaced(count, SHOWN)
    lines = {
        shown.name: list(enumerate(energy_over_time(shown.map[None])[0].tolist()))
        for shown in maps
        if shown.map.any()
    }
    with chart_style():
        figure = Figure(figsize=(10, 4.2))
        axes = figure.add_subplot()
        draw_lines(axes, lines, styles={})
        axes.axhline(1 / count, color="#9ca3af", linewidth=1, linestyle="--")
        axes.set(
            title=f"{title}: when (dashed: every frame alike)", xlabel="frame",
            ylabel="share of the map's energy", xlim=(-0.5, count - 0.5),
        )  # fmt: skip
        axes.set_ylim(bottom=0)
        # Each frame stands above its place on the axis below.
        step = count / len(frames)
        top = max((y for points in lines.values() for _, y in points), default=1.0)
        for t in frames:
            inset = axes.inset_axes((t - 0.46 * step, 1.12 * top, 0.92 * step, 0.4 * top),
                                    transform=axes.transData)  # fmt: skip
            show_picture(inset, to_uint8(x[:, t]))
            inset.set_axis_off()
        axes.set_ylim(0, 1.55 * top)
        ticks = [tick for tick in axes.get_yticks() if tick <= 1.05 * top]
        axes.set_yticks(ticks)
        add_legend(figure, axes)
    return figure


def encode_overlays(x: Tensor, maps: Sequence[ShownMap], *, title: str) -> bytes:
    """Return an animated GIF: the clip, and beside it the clip under each map.

    Args:
        x: the clip, (C, T, H, W) in [0, 1].
        maps: what is shown, (T, H, W) each.
        title: the heading.
    """
    height, width = x.shape[-2:]
    scale = max(1, round(WIDTH / width))
    cell_w, cell_h = width * scale + PAD, height * scale + CAPTION + PAD
    names = ["clip", *(shown.name for shown in maps)]
    across = min(ACROSS, len(names))
    size = (across * cell_w + PAD, TITLE + -(-len(names) // across) * cell_h)
    shares = [shown.shares for shown in maps]
    pages = []
    for t in range(x.shape[1]):
        page, pen = blank_sheet(size, f"{title}   frame {t}")
        picture = to_uint8(x[:, t])
        tiles = [picture if picture.shape[-1] == 3 else picture.repeat(3, -1)]
        tiles += [_over(picture, each[t]) for each in shares]
        for place, (name, tile) in enumerate(zip(names, tiles, strict=True)):
            left, top = PAD + place % across * cell_w, TITLE + place // across * cell_h
            large = Image.fromarray(tile).resize(
                (width * scale, height * scale), Image.Resampling.NEAREST
            )
            page.paste(large, (left, top))
            pen.text((left, top + height * scale + 2), name, fill=INK, font=FONT)
        pages.append(page.quantize(256, dither=Image.Dither.NONE))
    buffer = io.BytesIO()
    pages[0].save(buffer, "GIF", save_all=True, append_images=pages[1:], duration=DELAY, loop=0)
    return buffer.getvalue()


def _over(picture: np.ndarray[Any, Any], shares: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return a map (H, W) in [0, 1] over a picture (H, W, C) in grey, bytes (H, W, 3)."""
    colours = colormaps[COLOURS](shares)[..., :3] * 255  # (H, W, 3)
    mixed = OVERLAY * colours + (1 - OVERLAY) * picture.mean(-1, keepdims=True)
    tile: np.ndarray[Any, Any] = mixed.round().astype(np.uint8)
    return tile
