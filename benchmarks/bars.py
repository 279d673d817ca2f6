"""A bar chart on a logarithmic axis."""

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from PIL import Image

from trainers.run.show.plots import COLOURS, SIZE, chart_style, log_ticks, to_picture

BAR, GAP = 0.16, 0.36  # inches: of a bar, and between two groups
HEADING = {"ha": "right", "va": "center", "fontweight": "bold", "fontsize": 8}


def bars(groups: Mapping[str, Mapping[str, float]], *, title: str, x_label: str) -> Image.Image:
    """Draw a group of bars for each row, from 1 to its values, positive numbers.

    Args:
        groups: the values by the name of their bar, by the name of their group.
        title: the heading.
        x_label: the quantity along the horizontal axis.
    """
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    rows, headings, top = [], {}, 0.0
    for heading, members in groups.items():
        for place, (name, value) in enumerate(members.items()):
            rows.append((top + place * BAR, name, value))
        headings[top - BAR] = heading
        top += len(members) * BAR + GAP
    places, labels, values = zip(*rows, strict=True)
    with chart_style():
        figure = Figure(figsize=(SIZE[0], top + 0.9))
        axes = figure.add_subplot()
        colours = [COLOURS[names.index(n) % len(COLOURS)] for g in groups.values() for n in g]
        found = axes.barh(places, [v - 1 for v in values], BAR * 0.8, left=1, color=colours)
        axes.bar_label(found, [f"{value:.2f}" for value in values], padding=3, fontsize=8)
        axes.set(title=title, xlabel=x_label, xscale="log")
        axes.set_yticks(places, labels)
        for place, heading in headings.items():
            axes.text(-0.01, place, heading, transform=axes.get_yaxis_transform(), **HEADING)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.margins(x=0.12)
        axes.xaxis.set_major_locator(FixedLocator(log_ticks(min(*values, 1), max(*values, 1))))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        return to_picture(figure)
