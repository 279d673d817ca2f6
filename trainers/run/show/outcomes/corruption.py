"""Accuracy under common corruptions, as text and as rows of a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from trainers.run.show.text_table import format_table, percent

Row = Mapping[str, Any]


def corruption_lines(found: Row) -> list[str]:
    """Return the table of corruptions for a terminal, and what it comes to.

    Args:
        found: what `measure_corruptions` returned.
    """
    return [format_table(corruption_rows(found)), *corruption_sentences(found)]


def corruption_sentences(found: Row) -> list[str]:
    """Say what the corruptions come to, and which costs most."""
    names = found["corruptions"]
    worst = min(names, key=lambda name: names[name]["accuracy"])
    low, high = found["interval"]
    error = percent(found["mean_corruption_error"], (1 - high, 1 - low))
    return [
        f"mean corruption error {error}: the share that is wrong, as a mean over severities and "
        f"{len(names)} corruptions with the parameters of {found['benchmark']}, not divided by "
        "AlexNet's",
        f"{worst} costs most: {percent(names[worst]['accuracy'], names[worst]['interval'])} are "
        "right",
    ]


def corruption_rows(found: Row) -> Sequence[Mapping[str, str]]:
    """Return a row a corruption: the accuracy over all severities, and in each."""
    return [
        {
            "corruption": name,
            "accuracy": percent(one["accuracy"], one["interval"]),
            **{
                f"severity {s}": percent(each["accuracy"], each["interval"])
                for s, each in one["by_severity"].items()
            },
        }
        for name, one in found["corruptions"].items()
    ]
