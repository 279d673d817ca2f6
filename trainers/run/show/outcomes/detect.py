"""What a detector of attacked samples does, as a table and a chart."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from trainers.run.show.plots import line_chart
from trainers.run.show.text_table import format_table, percent

DETECT_TERMS = {
    "detector": "whether it was fitted to samples of this attack, has not seen it, or the attack "
    "knows it",
    "success": "share of the samples that were right before which the attack turns into errors, "
    "refused or not; in brackets the range, in %, of 95 % confidence",
    "auc": "area under the ROC curve: how often such an error has a higher score than a clean "
    "sample; 0.5 is guessing",
    "at 1%, 5%": "share of these errors that are detected when that share of clean test samples is "
    "too",
    "gets through": "share of the samples that were right before which the attack turns into "
    "errors that are not refused, at the threshold set on validation samples",
}


def detect_rows(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return what becomes of the samples of each attack, an attack a row."""
    return [
        {
            "attack": name,
            "detector": each["kind"],
            "budget": each["budget"],
            "success": _percent(each["success"]),
            "auc": area(each["auc"], each["auc_interval"]),
            **{f"at {float(s):.0%}": _percent(r) for s, r in each["detection"].items()},
            "gets through": _percent(each["gets_through"]),
        }
        for name, each in summary["attacks"].items()
    ]


def detect_table(summary: Mapping[str, Any]) -> str:
    """Return the table of a detector, an attack a line, and what it says together."""
    first, *rest = detect_lines(summary)
    return "\n".join([first, format_table(detect_rows(summary)), *rest])


def detect_lines(summary: Mapping[str, Any]) -> list[str]:
    """Say what a detector looks at, what it refuses of clean samples, and what gets through."""
    return [
        f"looks at {summary['layer']}, {summary['levels']} levels, "
        f"{summary['support_vectors']} support vectors",
        f"clean accuracy {_percent(summary['clean_accuracy'])} of {summary['samples']} test "
        f"samples; refused of them {_percent(summary['clean_refused'])}, threshold for "
        f"{summary['false_alarms']:.1%} set on validation samples",
        verdict(summary["attacks"]),
    ]


def verdict(attacks: Mapping[str, Mapping[str, Any]]) -> str:
    """Say how much more gets through of the attack that knows the detector."""
    known = next(each for each in attacks.values() if each["kind"] == "knows it")
    others = [e for e in attacks.values() if e["kind"] != "knows it"]
    rest = [e["gets_through"]["rate"] for e in others if e["budget"] == known["budget"]]
    if known["gets_through"]["rate"] is None:
        return "no sample was right before: there was nothing to attack"
    text = f"of the attack that knows the detector {known['gets_through']['rate']:.1%} get through"
    if not rest:
        return text
    return f"{text}, of the others at {known['budget']} at most {max(rest):.1%}"


def area(value: float | None, interval: tuple[float, float] | None) -> str:
    """Return an area with its interval.

    >>> area(0.9, (0.85, 0.94)), area(None, None)
    ('0.900 (0.85-0.94)', '-')
    """
    if value is None or interval is None:
        return "-"
    return f"{value:.3f} ({interval[0]:.2f}-{interval[1]:.2f})"


def roc_chart(curves: Mapping[str, tuple[Tensor, Tensor]]) -> Figure:
    """Draw detections over false alarms, a line for each attack."""
    lines = {
        name: list(zip(alarms.tolist(), found.tolist(), strict=True))
        for name, (alarms, found) in curves.items()
    }
    title, x_label = "Detection of attacked samples (ROC)", "share of clean samples"
    return line_chart(lines, title=title, x_label=x_label, y_label="share of attacked samples")


def _percent(rate: Mapping[str, Any] | None) -> str:
    return "-" if rate is None else percent(rate["rate"], rate["interval"])
