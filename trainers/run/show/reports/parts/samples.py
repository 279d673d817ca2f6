"""Samples before and after an attack, as tiles: what the classifier answered, and how sure."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainers.run.show.reports.parts.content import Section, Table, Tile
from trainers.run.show.text_table import number

Row = Mapping[str, Any]
RANKS = (
    "The surest wrong answers; of attacks without a budget, those that the smallest change led to. "
    "Original, perturbed, and the difference around grey, amplified."
)
TOP_TERMS = {
    "before": "the classes with the highest probability before the attack",
    "p before": "their probability",
    "after": "the classes with the highest probability after it",
    "p after": "their probability",
}


def failure_tiles(path: Path, failures: Sequence[Row]) -> list[Tile]:
    """Return a tile for each sample that an attack fooled.

    Args:
        path: the run folder.
        failures: as of `trainers.evaluate.failures`.
    """
    return [
        Tile(
            path / one["picture"],
            one["id"] if one["label"] is None else f"true: {one['label']}",
            [
                f"{said(one['before'])} → {said(one['after'])}",
                f"change: linf {number(one['linf'], '.3g')}, l2 {number(one['l2'], '.3g')}; "
                f"difference x {one['factor']}",
                f"sample {one['id']}",
            ],
            "FOOLED",
            top_table(one),
        )
        for one in failures
    ]


def said(top: Sequence[Row]) -> str:
    """Return the answer that leads, with its probability."""
    return f"{top[0]['class']} ({number(top[0]['probability'], '.1%')})"


def top_table(one: Row) -> Table:
    """Return the classes with the highest probability before and after, side by side."""
    pairs = zip(one["before"], one["after"], strict=True)
    return Table(
        [
            {
                "before": b["class"],
                "p before": number(b["probability"], ".1%"),
                "after": a["class"],
                "p after": number(a["probability"], ".1%"),
            }
            for b, a in pairs
        ],
        TOP_TERMS,
    )


def failure_section(path: Path, summary: Row, *, heading: str = "Worst failures") -> Section:
    """Return the samples that were right and fell.

    Args:
        path: the run folder.
        summary: with the failures, and how they are ranked.
        heading: of the section.
    """
    failures = summary.get("failures", ())
    return Section(heading, [RANKS], tiles={"": failure_tiles(path, failures)})
