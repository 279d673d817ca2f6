"""What `evaluate` found beside the table of attacks, as text and as sections of its report."""

from collections.abc import Mapping, Sequence
from typing import Any

from trainers.run.show.outcomes.corruption import (
    corruption_lines,
)
from trainers.run.show.text_table import percent

Row = Mapping[str, Any]
Rows = Sequence[Mapping[str, str]]
MOST = 20  # classes in the table of a report: of more, those that suffer most
EVALUATION_TERMS = {
    "area": "mean of the smallest change that fools a sample, which is the area under the curve; 0 "
    "for those that are wrong by themselves",
    "ECE": "expected calibration error: how far, on average, the confidence of an answer is from "
    "the share of such answers that is right; chance: what a calibrated classifier could show",
}


def evaluation_lines(summary: Row) -> list[str]:
    """Return what an evaluation found beside the table of attacks, for a terminal."""
    if "classes" not in summary:  # a run of an earlier version
        return []
    return [
        *curve_lines(summary["curve"]),
        *(summary["curve"] or {}).get("warnings", ()),
        suffer_line(summary),
        calibration_line(summary),
        *transfer_lines(summary["transfer"]),
        *masking_lines(summary["masking"]),
        *(corruption_lines(summary["corruptions"]) if summary.get("corruptions") else ()),
    ]


def curve_lines(curve: Row | None) -> list[str]:
    """Say what the curve over eps comes to, and whether APGD agrees."""
    if curve is None:
        return []
    low, high = curve["area_interval"]
    half, names = curve["median_distance"], ", ".join(curve["attacks"])
    to = f" over eps up to {curve['area_to']:.4g}:" if curve["never_fooled"] else ""
    lines = [
        f"curve over eps ({curve['norm']}, {curve['samples']} samples, by {names}): area{to} "
        f"{curve['area']:.4g} ({low:.4g}-{high:.4g}); half of those right fall "
        f"{'at no radius' if half is None else f'within {half:.4g}'}"
    ]
    if curve["never_fooled"]:
        lines.append(
            f"{curve['never_fooled']} of {curve['samples']} samples were fooled at no distance, so "
            "the curve ends above zero: give the attack more steps, or look for gradient masking"
        )
    if curve["checks"]:
        worst = max(curve["checks"], key=lambda row: abs(row["difference"]))
        count = len(curve["checks"])
        places = "1 radius" if count == 1 else f"{count} radii"
        lines.append(
            f"checked by {curve['checked_by']} at {places}: the largest "
            f"difference is {100 * worst['difference']:+.1f} points, at {worst['budget']}"
        )
    return lines


def curve_rows(curve: Row) -> Rows:
    """Return the table of radii and accuracies."""
    return [
        {"eps": row["budget"], "accuracy": percent(row["accuracy"], row["interval"])}
        for row in curve["points"]
    ]


def check_rows(curve: Row) -> Rows:
    """Return the table of the curve beside the attack that checks it."""
    return [
        {
            "eps": row["budget"],
            "curve": percent(row["accuracy"], row["interval"]),
            curve["checked_by"]: percent(row["attack_accuracy"], row["attack_interval"]),
            "difference": f"{100 * row['difference']:+.1f}",
            "either": percent(row["joint"], row["joint_interval"]),
            f"fooled by {curve['checked_by']} alone": str(row["attack_alone"]),
            "by the curve's alone": str(row["curve_alone"]),
        }
        for row in curve["checks"]
    ]


def suffer_line(summary: Row) -> str:
    """Name the classes that lose most, and say whether that is more than chance."""
    named = [
        f"{row['class']} ({row['lost']} of {row['right']}, {percent(row['share'], row['interval'])}"
        f"{'' if row['beyond_chance'] else ', within chance'})"
        for row in summary["suffer_most"]
    ]
    if not named:
        return "no class loses anything"
    case = summary["worst_cases"][0]["budget"] if summary["worst_cases"] else summary["strongest"]
    return f"classes that lose most at {case}: {', '.join(named)}"


def class_rows(summary: Row) -> Rows:
    """Return the table of classes; of many, those that end lowest."""
    rows = summary["classes"]
    if len(rows) > MOST:
        rows = sorted(rows, key=lambda row: lowest(row))[:MOST]
    return [
        {
            "class": row["class"],
            "n": str(row["samples"]),
            "clean": percent(row["clean"]["accuracy"], row["clean"]["interval"]),
            **{n: percent(m["accuracy"], m["interval"]) for n, m in row["attacks"].items()},
            **worst_cell(row["worst_case"]),
        }
        for row in rows
    ]


def worst_cell(case: Row | None) -> dict[str, str]:
    """Return the cell of the worst case, if there is one."""
    return {} if case is None else {"worst case": percent(case["accuracy"], case["interval"])}


def lowest(row: Row) -> float:
    """Return the lowest accuracy of a class."""
    found: list[float] = [m["accuracy"] for m in row["attacks"].values()]
    return min([*found, float((row["worst_case"] or row["clean"])["accuracy"])])


def confused_lines(summary: Row) -> list[str]:
    """Name the pairs that are confused most, clean and under the strongest attack."""
    attack, confused = summary["strongest"], summary["confused"]
    kinds = {"clean": confused["clean"], f"under {attack}": confused["attacks"][attack]}
    return [
        f"most confused {kind}: "
        + (", ".join(f"{p['class']} as {p['answer']} ({p['count']})" for p in pairs) or "none")
        for kind, pairs in kinds.items()
    ]


def calibration_line(summary: Row) -> str:
    """Return the calibration errors in a line."""
    kinds = {"clean": summary["calibration"]["clean"], **summary["calibration"]["attacks"]}
    return "ECE " + ", ".join(
        f"{name} {one['ece']:.1%} (chance: up to {one['chance']:.1%})"
        for name, one in kinds.items()
        if one is not None
    )


def calibration_rows(summary: Row) -> Rows:
    """Return the table of calibration errors."""
    kinds = {"clean": summary["calibration"]["clean"], **summary["calibration"]["attacks"]}
    return [
        {
            "answers": name,
            "n": str(one["samples"]),
            "ECE": f"{one['ece']:.1%}",
            "chance: up to": f"{one['chance']:.1%}",
            "ECE, equal counts": f"{one['adaptive_ece']:.1%}",
        }
        for name, one in kinds.items()
        if one is not None
    ]


def masking_lines(masking: Row, *, brief: bool = False) -> list[str]:
    """Say how many checks saw a sign of gradient masking, and unless brief which."""
    checks, signs = masking["checks"], masking["signs"]
    if not checks:
        return []
    on = f"on {masking['samples']} samples and " if masking["samples"] else ""
    head = (
        f"gradient masking: {len(signs) or 'none'} of {len(checks)} checks saw a sign, {on}by the "
        "attacks above"
    )
    return [head] if brief else [head, *signs]


def masking_rows(masking: Row) -> Rows:
    """Return the table of checks."""
    advised = any(row["advice"] for row in masking["checks"])
    return [
        {
            "check": row["check"],
            "sign": "yes" if row["sign"] else "no",
            "seen": row["seen"],
            **({"what to do": row["advice"]} if advised else {}),
        }
        for row in masking["checks"]
    ]


def transfer_lines(transfer: Row | None) -> list[str]:
    """Say which classifier's samples go furthest."""
    if transfer is None:
        return []
    others = [row for row in transfer["pairs"] if row["made_on"] != row["tried_on"]]
    best = max(others, key=lambda row: row["success"] or 0)
    rate = percent(best["success"], best["success_interval"])
    return [
        f"transfer of {transfer['attack']}: samples made on {best['made_on']} go furthest, "
        f"{rate} of {best['attackable']} on {best['tried_on']}"
    ]


def transfer_rows(transfer: Row) -> Rows:
    """Return the table of transfer: a row for each classifier that samples were made on."""
    cells = {(row["made_on"], row["tried_on"]): row for row in transfer["pairs"]}
    return [
        {
            "made on": source,
            **{
                f"on {name}": f"{percent(cell['success'], cell['success_interval'])} of "
                f"{cell['attackable']}"
                for name in transfer["models"]
                for cell in [cells[source, name]]
            },
        }
        for source in transfer["models"]
    ]
