"""What the job `network` found, as lines for a terminal."""

from collections.abc import Callable, Mapping
from typing import Any

from trainers.run.show.text_table import format_table

Row = Mapping[str, Any]
MOST_CONCEPTS = 40  # in the table; summary.json has all
NETWORK_TERMS = {
    "activations": "of units for one sample, on one scale: the lowest of the layer to its highest",
    "patches": "the pixels behind a unit's highest activations, one a sample",
    "neighbours": "nearest by the outputs of a layer, the sample itself left out",
    "embedding": "t-SNE: near points are alike, distances between groups say little",
    "classes": "images that raise the logit of a class, and how sure the classifier then is of it",
    "dissection": "a unit is active where it is above its threshold, which 0.5 % of its "
    "activations reach; it detects the concept whose masks it overlaps most, if its IoU "
    "(intersection over union over all images) is above 0.04",
}


def network_terms(summary: Row) -> dict[str, str]:
    """Return what the words of a run's parts mean."""
    return {word: text for word, text in NETWORK_TERMS.items() if word in summary["parts"]}


def network_lines(summary: Row) -> str:
    """Return what each part found, a line each, and the table of the concepts.

    >>> parts = {"filters": {"layer": "conv1", "filters": 8}}
    >>> print(network_lines({"parts": parts}))
    part     layer  found
    filters  conv1  8 filters
    """
    rows = part_rows(summary)
    cells = [tuple(rows[0]), *(tuple(row.values()) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(2)]
    lines = [f"{a.ljust(widths[0])}  {b.ljust(widths[1])}  {c}" for a, b, c in cells]
    if "dissection" in summary["parts"]:
        lines += ["", format_table(concept_rows(summary["parts"]["dissection"]))]
    return "\n".join(lines)


def part_rows(summary: Row) -> list[dict[str, str]]:
    """Return what each part found, a part a row."""
    return [
        {"part": name, "layer": str(facts.get("layer", "-")), "found": SENTENCES[name](facts)}
        for name, facts in summary["parts"].items()
    ]


def _activations(facts: Row) -> str:
    low = min(each["low"] for each in facts["samples"])
    high = max(each["high"] for each in facts["samples"])
    shown = len(facts["samples"][0]["units"])
    return (
        f"{shown} of {facts['units']} units for {len(facts['samples'])} samples, activations from "
        f"{low:.3g} to {high:.3g}"
    )


def _patches(facts: Row) -> str:
    size = "the whole sample" if facts["whole"] else " x ".join(map(str, facts["pixels"]))
    return (
        f"{len(facts['shown'])} of {facts['units']} units over {facts['samples']} samples; a unit "
        f"sees {size}{'' if facts['whole'] else ' pixels'}"
    )


def _neighbours(facts: Row) -> str:
    if not facts["neighbours"]:
        return f"none of the shown shares a label with another of {facts['samples']} samples"
    return (
        f"{facts['same_class']} of {facts['neighbours']} have the class of their sample, among "
        f"{facts['samples']} samples, by {facts['metric']}"
    )


def _classes(facts: Row) -> str:
    shares = [each["probability"] for each in facts["probability"]]
    return (
        f"{len(shares)} classes, {facts['steps']} steps; the classifier is more than half sure of "
        f"{sum(share > 0.5 for share in shares)}"
    )


def _dissection(facts: Row) -> str:
    found = sum(each["detectors"] > 0 for each in facts["concepts"].values())
    return (
        f"{facts['detectors']} of {facts['units']} units detect {found} of "
        f"{len(facts['concepts'])} concepts in {facts['images']} images"
    )


SENTENCES: dict[str, Callable[[Row], str]] = {
    "filters": lambda facts: f"{facts['filters']} filters",
    "activations": _activations,
    "patches": _patches,
    "neighbours": _neighbours,
    "embedding": lambda facts: (
        f"{facts['samples']} samples of {facts['values']} values each, {facts['wrong']} of them "
        "taken for another class"
    ),
    "classes": _classes,
    "dissection": _dissection,
}


def concept_rows(facts: Row) -> list[dict[str, str]]:
    """Return the concepts with their detectors, those with the most first."""
    ranked = sorted(
        facts["concepts"].items(), key=lambda pair: (-pair[1]["detectors"], -pair[1]["iou"])
    )
    return [
        {
            "concept": name,
            "pixels": f"{each['share']:.1%}",
            "detectors": str(each["detectors"]),
            "best unit": str(each["unit"]),
            "IoU": f"{each['iou']:.3f}",
        }
        for name, each in ranked[:MOST_CONCEPTS]
    ]
