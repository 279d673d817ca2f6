"""Charts of the job `evaluate`: the curve over eps, confusions, reliability, transfer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from trainers.run.show.plots import COLOURS, ON_DARK, ON_LIGHT, add_legend, chart_style

Row = Mapping[str, Any]
Matrix = Sequence[Sequence[float]]
NUMBERED = 16  # classes whose cells are numbered
NAMED = 40  # classes that are named beside a matrix
CLEAN, ATTACKED, GREY = COLOURS[0], COLOURS[1], COLOURS[7]
MARGINS = {"left": 0.06, "right": 0.98, "top": 0.93, "bottom": 0.1, "wspace": 0.08}
WIDE = (10.0, 4.9)  # inches, of two charts side by side
LONG = 14  # characters of a class name
CHARACTERS = 36  # of all names that stand side by side


@dataclass(frozen=True)
class BoundedPoint:
    """The robust accuracy under an attack of one radius, and its 95 % interval."""

    name: str
    eps: float
    accuracy: float
    interval: Sequence[float]


def curve_chart(
    lines: Mapping[str, Sequence[Row]],
    *,
    norm: str,
    eps: float,
    points: Sequence[BoundedPoint] = (),
    checks: Sequence[Row] = (),
    checked_by: str = "",
) -> Figure:
    """Draw robust accuracy against eps, and bounded attacks as points, with 95 % intervals.

    Args:
        lines: for each attack that looks for the smallest change, rows of eps, accuracy and
            interval, by rising eps; the last, of all together where they are several, is drawn
            whole and with its interval.
        norm: of eps.
        eps: the job's radius, dashed.
        points: of attacks held to one radius.
        checks: rows of eps, attack_accuracy and attack_interval.
        checked_by: the attack that made the checks.
    """
    with chart_style():
        figure = Figure()
        axes = figure.add_subplot()
        for colour, (name, rows) in zip(COLOURS, lines.items(), strict=False):
            xs = [row["eps"] for row in rows]
            lows, highs = zip(*(row["interval"] for row in rows), strict=True)
            last = name == list(lines)[-1]
            if last:
                axes.fill_between(xs, lows, highs, color=colour, alpha=0.15, linewidth=0)
            style = "-" if last else ":"
            axes.plot(xs, [row["accuracy"] for row in rows], style, color=colour, label=name)
        axes.axvline(eps, color=GREY, linestyle="--", linewidth=1, label=f"eps {eps:.4g}")
        found = [
            BoundedPoint(checked_by, row["eps"], row["attack_accuracy"], row["attack_interval"])
            for row in checks
        ]
        markers = iter("osD^vP*X" * (1 + len(points)))
        for name in dict.fromkeys(point.name for point in (*found, *points)):
            own = [point for point in (*found, *points) if point.name == name]
            _add_points(axes, own, marker=next(markers))
        axes.set(title="Robust accuracy against eps", xlabel=f"eps ({norm})", ylabel="accuracy")
        axes.set_xlim(left=0)
        axes.set_ylim(0, 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        add_legend(figure, axes)
        return figure


def _add_points(axes: Axes, points: Sequence[BoundedPoint], *, marker: str) -> None:
    """Add the points of one attack with their intervals."""
    xs, ys = [p.eps for p in points], [p.accuracy for p in points]
    below = [p.accuracy - p.interval[0] for p in points]
    above = [p.interval[1] - p.accuracy for p in points]
    colour = "#222222" if marker == "o" else COLOURS[1 + ord(marker) % 5]
    axes.errorbar(
        xs, ys, yerr=(below, above), fmt=marker, color=colour, markersize=5, elinewidth=1,
        label=points[0].name, zorder=3,
    )  # fmt: skip


def confusion_chart(clean: Matrix, attacked: Matrix, names: Sequence[str], attack: str) -> Figure:
    """Draw what each class was taken for, clean beside under attack, in % of its samples.

    Args:
        clean: counts (K, K), a row for each label.
        attacked: the same under attack.
        names: of the K classes.
        attack: its name.
    """
    with chart_style():
        figure = Figure(figsize=WIDE)
        for axes, (title, counts) in zip(
            figure.subplots(1, 2),
            {"Clean": clean, f"Under {attack}": attacked}.items(),
            strict=True,
        ):
            _draw_matrix(axes, _shares(counts), names)
            axes.set(title=f"{title}: % of each class", xlabel="answer", ylabel="class")
        return figure


def transfer_chart(success: Matrix, names: Sequence[str], attack: str) -> Figure:
    """Draw success (M, M) of samples made on one classifier (row), tried on another (column)."""
    with chart_style():
        side = 3.2 + 0.6 * len(names)
        figure = Figure(figsize=(side + 1.2, side))
        axes = figure.add_subplot()
        _draw_matrix(axes, success, names)
        title = f"Transfer of {attack}: % fooled of those both had right"
        axes.set(title=title, xlabel="tried on", ylabel="made on")
        return figure


def _shares(counts: Matrix) -> list[list[float]]:
    """Return counts as shares of their row; 0 in an empty row."""
    return [[n / (sum(row) or 1) for n in row] for row in counts]


def _draw_matrix(axes: Axes, cells: Matrix, names: Sequence[str]) -> None:
    """Draw shares as coloured cells, few of them with their percentages; NaN leaves a gap."""
    axes.imshow(cells, cmap="Blues", vmin=0, vmax=1, aspect="equal", interpolation="nearest")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    size = len(cells)
    places = range(size) if size <= NAMED else range(0, size, -(-size // NAMED))
    short = [name if len(name) <= LONG else f"{name[: LONG - 1]}…" for name in names]
    turned = 90 if max(len(short[i]) for i in places) * len(places) > CHARACTERS else 0
    axes.set_xticks(list(places), [short[i] for i in places], rotation=turned)
    axes.set_yticks(list(places), [short[i] for i in places])
    axes.tick_params(length=0, labelsize=8 if size <= NUMBERED else 6)
    if size > NUMBERED:
        return
    for i, row in enumerate(cells):
        for j, share in enumerate(row):
            if not share >= 0.005:  # would be 0, or is none
                continue
            colour, text = ON_DARK if share > 0.5 else ON_LIGHT, f"{100 * share:.0f}"
            cell = axes.text(j, i, text, ha="center", va="center", color=colour, fontsize=7.5)
            cell.set_in_layout(False)  # it is inside, and measuring all of them takes time


def reliability_chart(charts: Mapping[str, Row]) -> Figure:
    """Draw reliability diagrams side by side: accuracy against confidence, and how many.

    Args:
        charts: for each heading the ECE (ece), its chance level (chance), and bins with low, high,
            samples, confidence, accuracy and interval.

    Source: Guo et al. 2017, figure 1.
    """
    with chart_style():
        figure = Figure(figsize=WIDE)
        figure.set_layout_engine("none")  # to look for a layout would double the time
        grid = figure.subplots(
            2, len(charts), height_ratios=(4, 1), sharex=True, sharey="row", squeeze=False,
            gridspec_kw=MARGINS,
        )  # fmt: skip
        colours = (CLEAN, ATTACKED)
        for place, (heading, chart) in enumerate(charts.items()):
            upper, lower = grid[0][place], grid[1][place]
            _draw_reliability(upper, lower, chart["bins"], colours[min(place, 1)])
            chance = f"chance: up to {chart['chance']:.1%}"
            upper.set(title=f"{heading}: ECE {chart['ece']:.1%} ({chance})")
            lower.set(xlabel="confidence")
        grid[0][0].set(ylabel="accuracy")
        grid[1][0].set(ylabel="samples")
        return figure


def _draw_reliability(upper: Axes, lower: Axes, bins: Sequence[Row], colour: str) -> None:
    """Draw the accuracy of each bin with its interval, and the mean confidence there."""
    middles = [(row["low"] + row["high"]) / 2 for row in bins]
    wide = [0.92 * (row["high"] - row["low"]) for row in bins]
    shares, sure = [row["accuracy"] for row in bins], [row["confidence"] for row in bins]
    upper.bar(middles, shares, wide, color=colour, alpha=0.6, label="accuracy")
    lows, highs = zip(*(row["interval"] for row in bins), strict=True)
    upper.vlines(middles, lows, highs, colour, linewidth=1.5)
    left, right = zip(
        *((m - w / 2, m + w / 2) for m, w in zip(middles, wide, strict=True)), strict=True
    )
    upper.hlines(sure, left, right, "#222222", linewidth=2, label="mean confidence")
    upper.plot([0, 1], [0, 1], color="#222222", linestyle="--", linewidth=1)
    upper.set_xlim(0, 1)
    upper.set_ylim(0, 1)
    upper.legend(loc="upper left")
    lower.bar(middles, [row["samples"] for row in bins], wide, color=colour, alpha=0.75)
