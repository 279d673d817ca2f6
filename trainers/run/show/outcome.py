"""Outcomes of the jobs as text for a terminal, and the table of rounds."""

from collections.abc import Iterable, Mapping, Sequence
from textwrap import fill
from typing import Any

from trainers.run.folder.folder import RunFolder
from trainers.run.show.closing import closing_lines
from trainers.run.show.outcomes.attack import attack_lines
from trainers.run.show.outcomes.compress import compress_lines
from trainers.run.show.outcomes.defence import defence_lines
from trainers.run.show.outcomes.detect import detect_table
from trainers.run.show.outcomes.evaluation import evaluation_lines
from trainers.run.show.outcomes.explain import explanation_table
from trainers.run.show.outcomes.network import network_lines
from trainers.run.show.outcomes.representation import representation_table
from trainers.run.show.text_table import IN_BRACKETS, format_row, format_table, number, percent

Row = Mapping[str, Any]
WIDTH = 100  # characters of a line of prose
ROUND_TERMS = {
    "acc.": "share of the test samples that the classifier gets right, without an attack (clean) "
    f"and under one; {IN_BRACKETS}",
    "worst case": "right under whichever of the test attacks does best on each sample; those of "
    "one budget",
    "success": "share that the attack turns into errors; counted of the samples (of) that could be "
    "attacked, those that were right before",
    "loss": "mean of what the attack minimises or maximises, at its end; behind ± half of the "
    "range that the true mean lies in with 95 % confidence",
    "change": "mean change of a value, black to white being 1, of the samples it fooled",
    "sparsity": "share of the values that it changes by less than 1/255, of those samples",
    "bank": "perturbed samples collected for retraining so far",
}
ATTACK_TERMS = {
    "budget": "how far a sample may be changed; an attack without one makes the smallest change "
    "that it finds",
    "accuracy": "share of the test samples that the classifier gets right, also under the attack; "
    f"{IN_BRACKETS}",
    "success": ROUND_TERMS["success"],
    "median l2": "median Euclidean length of the change, of the samples it fooled",
    "queries": "mean number of times that the classifier was asked about a sample",
    "worst case": "share that is right also under whichever attack does best on each sample; only "
    "attacks of the same budget can be joined",
}


def legend(meanings: Mapping[str, str]) -> str:
    """Return words and what they mean as lines of at most WIDTH characters.

    >>> print(legend({"a": "first", "long": "second"}))
    a:    first
    long: second
    """
    wide = max(map(len, meanings)) + 2
    return "\n".join(
        fill(text, WIDTH, initial_indent=f"{word}:".ljust(wide), subsequent_indent=" " * wide)
        for word, text in meanings.items()
    )


def shown(names: Iterable[str]) -> list[str]:
    """Return the attacks that are shown beside the worst case: of more than two the last."""
    every = list(names)
    return every if len(every) <= 2 else every[-1:]


def columns(row: Row) -> dict[str, str]:
    """Return one round's cells by heading."""
    rates, intervals = row["robust_accuracy"], row.get("robust_accuracy_interval", {})
    robust = {f"{name} acc.": percent(rates[name], intervals.get(name)) for name in shown(rates)}
    if len(rates) > 1:
        worst = percent(row["worst_case"], row.get("worst_case_interval"))
        robust = {"worst case acc.": worst} | robust
    success = percent(row["attack_success"], row.get("attack_success_interval"))
    return {
        "round": str(row["round"]),
        "clean acc.": percent(row["clean_accuracy"], row.get("clean_accuracy_interval")),
        **robust,
        f"{row.get('attack', 'attack')} success": success,
        "of": number(row.get("attackable"), "d"),
        "loss": mean_cell(row, "attack_loss", ".3f"),
        "change": mean_cell(row, "delta_l1", ".3f"),
        "sparsity": mean_cell(row, "delta_sparsity", ".2f"),
        "bank": str(row["bank_size"]),
        "seconds": f"{row['seconds']:.1f}",
    }


def mean_cell(row: Row, name: str, form: str) -> str:
    """Return a mean and half of its interval.

    >>> mean_cell({"loss": 0.5, "loss_interval": (0.4, 0.6)}, "loss", ".2f")
    '0.50±.10'
    """
    low, high = row.get(f"{name}_interval") or (None, None)
    half = "" if low is None or high is None else f"±{(high - low) / 2:{form}}"
    return f"{number(row.get(name), form)}{half.replace('±0.', '±.')}"


def aligned(cells: Mapping[str, str]) -> str:
    """Return cells in columns as wide as their headings, or as a rate with its interval."""
    rates, wide = ("acc.", "success"), len("88.8% (88-100)")
    least = {"loss": 10, "change": 10, "sparsity": 8, "bank": 5}  # characters
    widths = {
        name: max(len(name), wide if name.endswith(rates) else least.get(name, 0)) for name in cells
    }
    return format_row(cells, widths)


def heading(row: Row) -> str:
    """Return the headings, two spaces apart."""
    return aligned({name: name for name in columns(row)})


def line(row: Row) -> str:
    """Return one round's cells, right-aligned below their headings.

    >>> row = dict(round=1, clean_accuracy=.98, robust_accuracy={"pgd": .7}, attack_success=.5,
    ...            worst_case=.6,
    ...            attack_loss=.1, delta_l1=.02, bank_size=9, seconds=1.0, attackable=60,
    ...            attack_success_interval=(.377, .623))
    >>> line(row).split()
    ['1', '98.0%', '70.0%', '50.0%', '(37-63)', '60', '0.100', '0.020', '-', '9', '1.0']
    """
    return aligned(columns(row))


def rounds_table(rows: Sequence[Row]) -> str:
    """Return the table of all rounds."""
    return "\n".join([heading(rows[0]), *(line(row) for row in rows)])


def handed_over(summary: Row) -> str:
    """Say which round's classifier a run hands over, why, and how it was measured if asked.

    >>> handed_over({"best_round": 2, "rounds": [{"validation": None}]})
    'handed over: round 2, the last'
    """
    chosen = summary["rounds"][0]["validation"] is not None
    why = "the most robust on validation samples" if chosen else "the last"
    lines = [f"handed over: round {summary['best_round']}, {why}"]
    return "\n".join(lines + ([attacks_table(summary["final"])] if "final" in summary else []))


def attack_rows(summary: Row) -> list[dict[str, str]]:
    """Return the table of an evaluation, an attack a row."""
    return [
        {
            "attack": name,
            "budget": m.get("budget") or "none",
            "accuracy": percent(m["robust_accuracy"], m.get("robust_accuracy_interval")),
            "success": percent(m["success"], m.get("success_interval")),
            "of": number(m.get("attackable"), "d"),
            "median l2": number(m["median_l2"], ".3f"),
            "queries": f"{m['queries']:.0f}",
            "seconds": f"{m['seconds']:.1f}",
        }
        for name, m in summary["attacks"].items()
    ]


def attacks_table(summary: Row) -> str:
    """Return the table of an evaluation, an attack a line, and what it comes to."""
    clean = percent(summary["clean_accuracy"], summary.get("clean_accuracy_interval"))
    of = f" of {summary['samples']} test samples" if "samples" in summary else ""
    lines = [
        format_table(attack_rows(summary)),
        f"clean accuracy {clean}{of}",
        *worst_lines(summary),
    ]
    if "defence" in summary:
        lines += ["", *defence_lines(summary["defence"])]
    return "\n".join(lines)


def evaluation_table(summary: Row) -> str:
    """Return all that the job `evaluate` found."""
    return "\n".join([attacks_table(summary), *evaluation_lines(summary)])


def fitted_line(summary: Row) -> str:
    """Say how a classifier was fitted."""
    last, budget = summary["history"][-1], summary["train_budget"]
    how = f"{summary['method']} at {budget}" if budget else summary["method"]
    return (
        f"fitted by {how}, epochs: {len(summary['history'])}; at the end loss {last['loss']:.3f}, "
        f"accuracy {last['accuracy']:.1%} on training samples as fitted; kept is epoch "
        f"{summary['kept_epoch'] + 1}; {summary['fitting']['seconds']:.0f} seconds."
    )


def fit_table(summary: Row) -> str:
    """Return how a classifier was fitted, and the table of its evaluation."""
    return f"{fitted_line(summary)}\n{attacks_table(summary)}"


def worst_lines(summary: Row) -> list[str]:
    """Say which attacks make up each worst case, and which none, and why."""
    lines = [
        f"worst case at {case['budget']}: {percent(case['accuracy'], case['interval'])} are right "
        f"under {', '.join(case['attacks'])}"
        for case in summary.get("worst_cases", [])
    ] or ["no worst case: no attack has a budget (a norm and an eps)"]
    outside = summary.get("outside_worst_cases", {})
    return lines + [f"in no worst case: {name} ({why})" for name, why in outside.items()]


def outcome(folder: RunFolder) -> str:
    """Return a finished run's table, and the lines that close it."""
    summary = folder.summary()
    if summary["job"] == "rounds":
        found = f"{rounds_table(summary['rounds'])}\n{handed_over(summary)}"
    else:
        say = {"evaluate": evaluation_table, "attack": attack_lines, "fit": fit_table}
        say |= {"detect": detect_table, "explain": explanation_table, "network": network_lines}
        say |= {"representation": representation_table}
        found = say.get(summary["job"], compress_lines)(summary)
    return f"{found}\n\n{closing_lines(folder.path, summary)}"
