"""What the job `explain` found, as a table for a terminal."""

from collections.abc import Mapping
from typing import Any

from trainers.run.show.text_table import format_table

EXPLANATION_TERMS = {
    "deletion": "mean probability of the class while pixels are blackened, those first that a map "
    "calls the most important: small for a good map",
    "insertion": "the same while they are put into a blurred sample: large for a good map",
    "seconds": "of a sample",
}


def explanation_table(summary: Mapping[str, Any]) -> str:
    """Return the methods with their mean scores, the best by insertion first.

    >>> one = {"deletion": 0.1, "insertion": 0.5, "seconds": 2.0}
    >>> one |= {"deletion_interval": (0.05, 0.15), "insertion_interval": None}
    >>> print(explanation_table({"samples": 3, "methods": {"rise": one}}))
    method        deletion  insertion  seconds
    rise    0.100 +- 0.050      0.500      2.0
    mean of 3 samples; behind +- half of the range that it lies in with 95 % confidence
    """
    ranked = sorted(summary["methods"].items(), key=lambda pair: -pair[1]["insertion"])
    rows = [
        {
            "method": name,
            "deletion": _with_interval(scores, "deletion"),
            "insertion": _with_interval(scores, "insertion"),
            "seconds": f"{scores['seconds']:.1f}",
        }
        for name, scores in ranked
    ]
    about = (
        f"mean of {summary['samples']} samples; behind +- half of the range that it lies in with "
        "95 % confidence"
    )
    return f"{format_table(rows)}\n{about}" if rows else "no method could explain the classifier"


def _with_interval(scores: Mapping[str, Any], name: str) -> str:
    """Return a mean, with half of its interval where it is known."""
    interval = scores[f"{name}_interval"]
    half = f" +- {(interval[1] - interval[0]) / 2:.3f}" if interval else ""
    return f"{scores[name]:.3f}{half}"
