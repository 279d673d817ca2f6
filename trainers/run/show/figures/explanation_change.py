"""What a classifier looked at before and after it was retrained, side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize as ColourScale
from matplotlib.figure import Figure
from torch import Tensor

from trainers.run.show.figures.explanation import BARE, COLOURS, brightest, show_picture
from trainers.run.show.images import is_clip, to_uint8
from trainers.run.show.plots import chart_style

CELL = 1.45  # inches of a sample in the figure
LABEL = 1.3  # inches of the names of the classes
CHANGES = "RdBu_r"  # colours of what is looked at less and more


@dataclass(frozen=True)
class LookedAt:
    """The maps of some samples by one classifier.

    Attributes:
        maps: by method, (N, H, W) or (N, T, H, W), at least 0.
        probability: that it gives the explained classes, (N,).
    """

    maps: Mapping[str, Tensor]
    probability: Tensor


def change_figure(
    x: Tensor,
    names: Sequence[str],
    before: LookedAt,
    after: LookedAt,
    *,
    rounds: tuple[int, int],
) -> Figure:
    """Draw a row for each sample: by each method the map before, the map after, and their change.

    Maps are shares of their own sum, for the gradients of a robust classifier are shorter
    everywhere. All maps of a method have one colour scale, and so have all changes. Of a clip the
    frame is shown that both classifiers, by all methods, look at the most.

    Args:
        x: the samples, (N, C, H, W) or (N, C, T, H, W) in [0, 1].
        names: of the classes that are explained.
        before: by the first classifier.
        after: by the second.
        rounds: their numbers.
    """
    pairs = {name: (shares(before.maps[name]), shares(after.maps[name])) for name in before.maps}
    labels = [
        f"{name}\n{first:.0%} then {second:.0%}"
        for name, first, second in zip(
            names, before.probability.tolist(), after.probability.tolist(), strict=True
        )
    ]
    if is_clip(x[0]):
        by_frame = torch.stack([map_ for pair in pairs.values() for map_ in pair])
        frames = by_frame.sum((0, 3, 4)).argmax(1)  # (N,)
        rows = torch.arange(len(x))
        x = x[rows, :, frames]  # (N, C, H, W)
        pairs = {name: (a[rows, frames], b[rows, frames]) for name, (a, b) in pairs.items()}
        labels = [f"{label}\nframe {frame}" for label, frame in zip(labels, frames, strict=True)]
    count, across = len(x), 1 + 3 * len(pairs)
    with chart_style():
        figure = Figure(figsize=(LABEL + across * CELL, 1.4 + count * CELL))
        axes = figure.subplots(1, across, squeeze=False, subplot_kw=BARE)[0]
        show_picture(axes[0], to_uint8(_column(x, fill=1.0)))
        axes[0].set_title("sample", fontsize=9, loc="center")
        side = x.shape[-2]
        axes[0].set_yticks([i * (side + _gap(side)) + side / 2 for i in range(count)], labels)
        axes[0].tick_params(length=0)
        axes[0].grid(visible=False)
        for place, (name, pair) in enumerate(pairs.items()):
            _show_pair(axes[1 + 3 * place : 4 + 3 * place], name, pair, rounds=rounds)
        for axis in axes:
            axis.spines[:].set_visible(False)
        _colour_bars(figure, axes)
    return figure


def shares(maps: Tensor) -> Tensor:
    """Return maps (N, ...) as shares of their own sum; an empty one stays empty."""
    total = maps.flatten(1).sum(1).reshape(-1, *[1] * (maps.ndim - 1))
    return maps / total.clamp_min(torch.finfo(maps.dtype).tiny)


def _show_pair(
    columns: Sequence[Axes], name: str, pair: tuple[Tensor, Tensor], *, rounds: tuple[int, int]
) -> None:
    """Show the maps of a method, (N, H, W) twice, and their change, a column each."""
    change = pair[1] - pair[0]
    top, most = brightest(torch.stack(pair)) or 1, brightest(change.abs()) or 1
    shown = zip(columns, (*pair, change), (0, 0, -most), (top, top, most), strict=True)
    for axis, maps, low, high in shown:
        colours = COLOURS if maps is not change else CHANGES
        column = _column(maps[:, None], fill=torch.nan)[0].numpy()
        axis.imshow(column, cmap=colours, vmin=low, vmax=high, interpolation="nearest")
    kinds = (f"round {rounds[0]}", f"round {rounds[1]}", "change")
    for axis, kind in zip(columns, kinds, strict=True):
        axis.set_title(f"{name}\n{kind}", fontsize=9, loc="center")


def _column(pictures: Tensor, *, fill: float) -> Tensor:
    """Return pictures (N, C, H, W) below each other, (C, N (H + gap), W): few axes are quick."""
    padded = F.pad(pictures, (0, 0, 0, _gap(pictures.shape[-2])), value=fill)
    return padded.transpose(0, 1).flatten(1, 2)


def _gap(side: int) -> int:
    """Return the pixels between pictures of so many rows."""
    return max(1, side // 16)


def _colour_bars(figure: Figure, axes: Any) -> None:
    """Add the two scales below all pictures."""
    half = (1 + len(axes)) // 2
    looked = (ScalarMappable(ColourScale(0, 1), COLOURS), ("little", "much"), "looked at")
    change = (ScalarMappable(ColourScale(-1, 1), CHANGES), ("less", "more"), "after the rounds")
    for (scale, words, label), above in zip(
        (looked, change), (list(axes[:half]), list(axes[half:])), strict=True
    ):
        bar = figure.colorbar(scale, ax=above, location="bottom", shrink=0.6, aspect=40)
        bar.set_ticks(list(scale.get_clim()), labels=words)
        bar.set_label(label, fontsize=8.5)
