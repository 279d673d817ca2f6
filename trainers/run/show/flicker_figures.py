"""Pictures of flicker: the pattern over the frames, and what thickness costs in roughness."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from trainers.run.show.images import amplification, to_uint8
from trainers.run.show.plots import (
    COLOURS,
    SIZE,
    Points,
    add_legend,
    chart_style,
    draw_lines,
    line_chart,
    to_picture,
)

CHANNELS: tuple[str, ...] = ("red", "green", "blue")
PAINT: tuple[str, ...] = ("#dc2626", "#059669", "#2563eb")  # of their curves


def pattern_figure(pattern: Tensor, *, title: str) -> Image.Image:
    """Draw a pattern as a strip of colours, one a frame, over a curve for each channel.

    Args:
        pattern: (C, T) in pixel units.
        title: the heading.

    Returns:
        The strip, around grey and amplified by the factor that the title then names, above the
        values in percent of full scale.

    Source: Naeh et al. 2020, figure 2.
    """
    values = pattern.detach().cpu().float()
    channels, frames = values.shape
    factor = amplification(float(values.abs().max()))
    colours = 0.5 + factor * values[:, None]  # (C, 1, T)
    names, paint = CHANNELS, PAINT
    if channels != len(CHANNELS):  # no colours that we know of: all channels as one grey
        colours = colours.mean(0, keepdim=True).expand(3, -1, -1)  # (3, 1, T)
        names, paint = tuple(f"channel {c}" for c in range(channels)), COLOURS
    rows = (100 * values).tolist()
    lines = {name: list(enumerate(row)) for name, row in zip(names, rows, strict=True)}
    styles = {name: {"color": colour} for name, colour in zip(names, cycle(paint), strict=False)}
    with chart_style():
        figure = Figure(figsize=(SIZE[0], SIZE[1] + 0.5))
        strip, curves = figure.subplots(2, sharex=True, height_ratios=(1, 6))
        ends = (-0.5, frames - 0.5, 0, 1)
        strip.imshow(to_uint8(colours), aspect="auto", interpolation="nearest", extent=ends)
        strip.set(title=f"{title} (colours x {factor})", yticks=[])
        strip.tick_params(bottom=False, labelbottom=False)
        strip.grid(visible=False)
        draw_lines(curves, lines, styles=styles)
        curves.set(xlabel="frame", ylabel="% of full scale")
        curves.xaxis.get_major_locator().set_params(integer=True)
        add_legend(figure, curves)
        return to_picture(figure)


def path_figure(points: Sequence[tuple[float, Tensor, Tensor]], *, title: str) -> Image.Image:
    """Draw the path of mean roughness over mean thickness as the weights change.

    Args:
        points: for each share beta1 of beta1 + beta2: it, and the thickness and the roughness of
            all clips that were fooled, (N,) each in % of full scale. Without clips it is left out.
        title: the heading.

    Source: Naeh et al. 2020, figure 5.
    """
    means = [
        (share, float(thick.mean()), float(rough.mean()))
        for share, thick, rough in points
        if len(thick)
    ]
    lines: dict[str, Points] = {"path": [(thick, rough) for _, thick, rough in means]}
    lines |= {f"beta1 {share:g}": [(thick, rough)] for share, thick, rough in means}
    x_label, y_label = "mean thickness in %", "mean roughness in %"
    return to_picture(line_chart(lines, title=title, x_label=x_label, y_label=y_label))
