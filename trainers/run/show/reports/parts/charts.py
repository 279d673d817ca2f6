"""Charts as SVG inside a page, whose colours follow the page: light or dark."""

import re
from collections.abc import Mapping
from pathlib import Path

from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from trainers.run.show.plots import COLOURS, STYLE, Points, line_chart, to_svg

# The page's name of each colour that charts are drawn in.
THEME = {
    "#ffffff": "paper",
    str(STYLE["text.color"]): "ink",
    "#000000": "ink",
    str(STYLE["axes.edgecolor"]): "axis",
    str(STYLE["grid.color"]): "grid",
    **{colour: f"series-{number}" for number, colour in enumerate(COLOURS)},
}
NAMED = re.compile(r' id="([^"]*)"')


def share_chart(
    lines: Mapping[str, Points],
    *,
    title: str,
    x_label: str,
    ranges: Mapping[str, Points] | None = None,
    mark: tuple[float, str] | None = None,
) -> Markup:
    """Draw shares from 0 to 100 % of which more is better, as a part of a page.

    Args:
        lines: as of `line_chart`.
        title: the heading.
        x_label: of the horizontal axis.
        ranges: the 95 % interval of each point of some lines.
        mark: a place on the horizontal axis, marked by an upright line, and what it is called.
    """
    figure = line_chart(
        lines, title=title, x_label=x_label, y_label="share (higher is better)", ranges=ranges
    )
    axes = figure.axes[0]
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    if mark is not None:
        place, name = mark
        axes.axvline(place, color=COLOURS[-1], linestyle=":", linewidth=1.2)
        axes.annotate(name, (place, 0.02), (4, 0), textcoords="offset points", fontsize=8)
    return inline_chart(figure)


def inline_chart(figure: Figure) -> Markup:
    """Return a chart as SVG for a page."""
    return inline_svg(to_svg(figure))


def inline_file(file: Path) -> Markup:
    """Return an SVG file of ours for a page."""
    return inline_svg(file.read_text())


def inline_svg(svg: str) -> Markup:
    """Return an SVG of ours as a part of a page: of its width and in its colours.

    What a page does not need goes: the head, the description, the names of parts, which several
    charts on a page would share, and the size.
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    head, body = svg.split(">", 1)
    head = re.sub(r' (?:width|height|version|xmlns|xmlns:xlink)="[^"]*"', "", head)
    used = set(re.findall(r"#([\w.-]+)", body))
    body = NAMED.sub(lambda found: found[0] if found[1] in used else "", body)
    body = re.sub(r"<style[^>]*>.*?</style>", "", body, flags=re.DOTALL)
    for colour, name in THEME.items():
        body = body.replace(colour, f"var(--{name})")
    return Markup(f'{head} class="chart" role="img">{body.strip()}')
