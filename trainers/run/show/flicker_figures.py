"""Pictures of flicker: the pattern over the frames, and what thickness costs in roughness."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image
from torch import Tensor

from trainers.run.show.figures import amplification, to_image
from trainers.run.show.plots import COLOURS, SIZE, curves

CHANNELS = ("red", "green", "blue")
PAINT = ("#dc2626", "#059669", "#2563eb")  # of their curves
STRIP = 48  # pixels high


def pattern_figure(pattern: Tensor, *, title: str) -> Image.Image:
    """Draw a pattern as a strip of colours, one a frame, over a curve for each channel.

    Args:
        pattern: (C, T) in pixel units.
        title: the heading.

    Returns:
        A picture of 640 x 408 pixels: the strip, around grey and amplified by what the title
        then says, and below it the values in percent of full scale.

    Source: Naeh et al. 2020, figure 2.
    """
    values = pattern.detach().cpu().float()
    channels = len(values)
    factor = amplification(float(values.abs().max()))
    colours = 0.5 + factor * values[:, None]  # (C, 1, T)
    if channels not in (1, len(CHANNELS)):
        colours = colours.mean(0, keepdim=True)  # no colours we know of: (1, 1, T)
    strip = to_image(colours).convert("RGB").resize((SIZE[0], STRIP), Image.Resampling.NEAREST)
    names = CHANNELS if channels == len(CHANNELS) else [f"channel {c}" for c in range(channels)]
    lines = {
        name: list(enumerate((100 * row).tolist())) for name, row in zip(names, values, strict=True)
    }
    chart = curves(
        lines, title=f"{title}, in % of full scale (colours x {factor})", across="frame",
        colours=PAINT if channels == len(CHANNELS) else COLOURS,
    )  # fmt: skip
    figure = Image.new("RGB", (SIZE[0], SIZE[1] + STRIP), "white")
    figure.paste(strip, (0, 0))
    figure.paste(chart, (0, STRIP))
    return figure


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
    lines: dict[str, list[tuple[float, float]]] = {
        "path": [(thick, rough) for _, thick, rough in means]
    }
    lines |= {f"beta1 {share:g}": [(thick, rough)] for share, thick, rough in means}
    return curves(
        lines, title=f"{title}: mean roughness in %", across="mean thickness in %", whole=False
    )
