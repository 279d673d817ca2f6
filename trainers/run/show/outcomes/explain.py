"""What the job `explain` found, as tables for a terminal and a page."""

from collections.abc import Mapping
from typing import Any

from trainers.run.show.text_table import format_table, number, percent

TERMS = {
    "deletion": "mean probability of the class while pixels are blackened, those first that a map "
    "calls the most important: small for a good map",
    "insertion": "the same while they are put into a blurred sample: large for a good map",
    "pointing": "share of the samples in which a map is the highest on the object",
    "box iou": "overlap of the largest box around half of a map's energy with a box of the object, "
    "as a share of both together",
    "stability": "rank correlation of the maps with those of another seed; 1 where nothing is "
    "drawn at random",
    "random weights": "rank correlation of the maps with those of the same network with random "
    "weights; a method whose maps survive these says little of what the classifier learned",
    "seconds": "of a sample",
}


def explanation_rows(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return a row for each method with its mean scores, the best by insertion first."""
    ranked = sorted(summary["methods"].items(), key=lambda pair: -(pair[1]["insertion"] or 0))
    return [
        {
            "method": name,
            **{term: _cell(scores, term) for term in TERMS if _key(term) in scores},
        }
        for name, scores in ranked
    ]


def explanation_terms(summary: Mapping[str, Any]) -> dict[str, str]:
    """Return the headings of the columns that there are, with what they mean."""
    known = {key for scores in summary["methods"].values() for key in scores}
    return {term: text for term, text in TERMS.items() if _key(term) in known}


def explanation_table(summary: Mapping[str, Any]) -> str:
    """Return the methods with their mean scores, and which of them survive random weights.

    >>> one = {"deletion": 0.1, "insertion": 0.5, "seconds": 2.0}
    >>> one |= {"deletion_interval": (0.05, 0.15), "insertion_interval": None}
    >>> print(explanation_table({"samples": 3, "methods": {"rise": one}}))
    method        deletion  insertion  seconds
    rise    0.100 +- 0.050      0.500      2.0
    mean of 3 samples; behind +- half of the range that it lies in with 95 % confidence
    """
    if not summary["methods"]:
        return of_samples(summary)
    rows = explanation_rows(summary)
    return "\n".join([format_table(rows), of_samples(summary), *surviving(summary)])


def of_samples(summary: Mapping[str, Any]) -> str:
    """Say what the numbers of the table are."""
    if not summary["methods"]:
        return "no method could explain the classifier"
    return (
        f"mean of {summary['samples']} samples; behind +- half of the range that it lies in with "
        "95 % confidence"
    )


def surviving(summary: Mapping[str, Any]) -> list[str]:
    """Say which methods draw the same maps for random weights."""
    return [
        f"{name} survives random weights: its maps say little of what the classifier learned"
        for name, scores in summary["methods"].items()
        if scores.get("survives_random_weights")
    ]


def agreement_rows(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the table of mean rank correlations between methods; none of a single method."""
    found = summary.get("agreement") or {}
    return [
        {"": name, **{other: number(value, ".2f") for other, value in row.items()}}
        for name, row in found.items()
    ]


def _key(term: str) -> str:
    """Return how summary.json calls a column."""
    return term.replace(" ", "_")


def _cell(scores: Mapping[str, Any], term: str) -> str:
    """Return a mean, with half of its interval where it is known, and the flag of a check."""
    key = _key(term)
    if key == "random_weights":
        flag = " survives" if scores["survives_random_weights"] else ""
        return f"{number(scores[key], '.2f')}{flag}"
    interval = scores.get(f"{key}_interval")
    if key == "pointing" and interval:  # of a count, which lies on no middle
        return percent(scores[key], interval)
    half = f" +- {(interval[1] - interval[0]) / 2:.3f}" if interval else ""
    form = {"stability": ".2f", "seconds": ".1f"}.get(key, ".3f")
    return f"{number(scores[key], form)}{half}"
