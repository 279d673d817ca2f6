"""The heat map of accuracy under common corruptions."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from trainers.run.show.plots import ON_DARK, ON_LIGHT, SIZE, chart_style


def corruption_chart(found: Mapping[str, Any], *, clean_accuracy: float) -> Figure:
    """Draw accuracy by corruption and severity, beside that of clean samples.

    Args:
        found: what `measure_corruptions` returned.
        clean_accuracy: from 0 to 1.
    """
    names = found["corruptions"]
    cells = [
        [clean_accuracy, *(each["accuracy"] for each in one["by_severity"].values())]
        for one in names.values()
    ]  # (K, 1 + S)
    with chart_style():
        figure = Figure(figsize=(SIZE[0], 1.6 + 0.3 * len(cells)))
        axes = figure.add_subplot()
        map_ = axes.imshow(cells, vmin=0, vmax=1, cmap="viridis", aspect="auto")
        for row, values in enumerate(cells):
            for column, value in enumerate(values):
                colour = ON_DARK if value < 0.6 else ON_LIGHT
                text = f"{100 * value:.0f}"
                axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8.5)
        severities = [str(s) for s in found["severities"]]
        axes.set_xticks(range(len(severities) + 1), ["clean", *severities])
        axes.set_yticks(range(len(cells)), [name.replace("_", " ") for name in names])
        title = f"Accuracy in % under the corruptions of {found['benchmark']}"
        axes.set(title=title, xlabel="severity")
        axes.grid(visible=False)
        axes.tick_params(length=0)
        figure.colorbar(map_, format=PercentFormatter(1))
        return figure
