"""What the job `attack` found, as lines for a terminal."""

from collections.abc import Mapping
from typing import Any

from trainers.run.show.text_table import IN_BRACKETS, number, percent

Row = Mapping[str, Any]
TOP = 5  # classes whose scores `attack` adds up


def attack_lines(summary: Row) -> str:
    """Return what the job `attack` found."""
    sums = summary["top_sum_after"]
    rate = percent(summary["success"], summary["success_interval"])
    lines = [
        *fit_lines(summary),
        f"{summary['attack']} succeeds on {rate} of the {summary['attackable']} samples that could "
        "be attacked",
        IN_BRACKETS,
        not_counted(summary),
        storage(summary["saved"]),
        f"mean change of a value, black to white being 1: {number(summary['delta_l1'], '.4f')} "
        f"(of the {summary['fooled']} samples fooled)",
        *reported(summary),
        f"the answer changed on {summary['top_class_changed']:.1%} of all {summary['samples']}",
        f"scores of the {TOP} classes that led before, added up after the attack: mean "
        f"{number(sums['mean'], '.3f')}, largest {number(sums['largest'], '.3f')}",
    ]
    return "\n".join(lines)


def fit_lines(summary: Row) -> list[str]:
    """Say what an attack was fitted to, in a line; none where it was not.

    >>> fit_lines({"attack": "universal", "fit": dict(
    ...     file="universal.safetensors", samples=200, passes=3, fooling_rate=0.5)})
    ['universal was fitted to 200 training samples in 3 passes: fooling_rate 0.5']
    """
    about = dict(summary.get("fit", {}))
    if not about:
        return []
    samples, passes = about.pop("samples"), about.pop("passes")
    numbers = ", ".join(f"{name} {value:.4g}" for name, value in about.items() if name != "file")
    to = f"{samples} training samples in {passes} passes"
    return [f"{summary['attack']} was fitted to {to}: {numbers}"]


def not_counted(summary: Row) -> str:
    """Say which samples could not be attacked.

    >>> not_counted({"samples": 8, "attackable": 6, "target": None})
    '2 of all 8 were wrong before and are not counted'
    >>> not_counted({"samples": 8, "attackable": 7, "target": "cat"})
    '1 of all 8 was labelled or called cat before and is not counted'
    """
    left, target = summary["samples"] - summary["attackable"], summary["target"]
    if not left:
        return f"all {summary['samples']} could be attacked"
    were, are = ("was", "is") if left == 1 else ("were", "are")
    before = "wrong" if target is None else f"labelled or called {target}"
    return f"{left} of all {summary['samples']} {were} {before} before and {are} not counted"


def storage(saved: Row) -> str:
    """Say how many of the samples that the attack fooled the saved files fool with.

    >>> storage({"as": "float", "found": 4, "survive": 3, "rounding_lost": 1, "survive_share": 0.75,
    ...          "survive_interval": (0.3, 0.96)})
    'rounded to bytes, as in the folder samples, 3 of the 4 fooled still fool: 75.0% (30-96)'
    """
    if not saved["found"]:
        return "none was fooled before rounding to bytes"
    rate = percent(saved["survive_share"], saved["survive_interval"])
    kept = f"{saved['survive']} of the {saved['found']} fooled still fool: {rate}"
    if saved["as"] == "float":
        return f"rounded to bytes, as in the folder samples, {kept}"
    return f"saved as bytes, {kept}; rounding alone would have lost {saved['rounding_lost']}"


def reported(summary: Row) -> list[str]:
    """Return what the attack alone reports of the samples it fooled, a line each.

    >>> reported({"reported": {"nonzeros": {"median": 3.0, "mean": 3.25, "n": 4}}})
    ['nonzeros: median 3, mean 3.25 (of 4 samples fooled)']
    """
    return [
        f"{name}: median {one['median']:.5g}, mean {one['mean']:.5g} (of {one['n']} samples fooled)"
        for name, one in summary.get("reported", {}).items()
    ]
