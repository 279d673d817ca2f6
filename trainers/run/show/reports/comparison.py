"""Several runs side by side: what they came to, how they differ, whether they may be compared."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from trainers.run.cli.toml import flag
from trainers.run.folder.record import RunRecord
from trainers.run.show.headline import headlines
from trainers.run.show.reports.parts.charts import share_chart
from trainers.run.show.reports.parts.content import Report, Section, Table
from trainers.run.show.reports.parts.words import listed
from trainers.run.show.text_table import IN_BRACKETS, percent

Row = Mapping[str, Any]
# Runs that differ in one of these were measured on other samples, or under other attacks.
SAME = (
    "data", "classes", "size", "channels", "frames", "stride", "clips", "split", "test_samples",
    "norm", "eps",
)  # fmt: skip
CHARTS = {"worst_case": "Worst case accuracy", "clean_accuracy": "Clean accuracy"}
UNSET, NO_OPTION = "not set", "-"
OPTION_TERMS = {"option": "its name in config.toml; - where a job has none such"}
ATTACK_TERMS = {
    "attack": "its name and options",
    "budget": "how far a sample may be changed; - where that is not held",
}
Named = Mapping[str, RunRecord]


def comparison(runs: Sequence[RunRecord]) -> Report:
    """Return the content of a page that compares runs.

    Args:
        runs: two at least, of any jobs.
    """
    named = name_runs(runs)
    terms = {name: f"the run in {run.path}, a run of {run.job}" for name, run in named.items()}
    return Report(
        lead=f"{listed(list(named))}. Intervals are of 95 % confidence; where those of two runs "
        "overlap, the runs may well be alike.",
        headlines=(),
        warnings=not_comparable(named),
        sections=[
            Section(
                "What they came to",
                [f"{IN_BRACKETS}; behind them of how many samples."],
                tables=[Table(headline_rows(named), {"number": "what was measured"} | terms)],
            ),
            Section("Through the rounds", charts=round_charts(named)),
            Section(
                "Right under each attack",
                ["Rounds: of the round whose classifier is handed over."],
                tables=[Table(attack_rows(named), ATTACK_TERMS | terms)],
            ),
            Section(
                "Options that differ",
                tables=[Table(option_rows(named), OPTION_TERMS | terms, prose=True)],
            ),
        ],
    )


def name_runs(runs: Sequence[RunRecord]) -> dict[str, RunRecord]:
    """Return runs by the name of their folder, or by its path where two have the same name."""
    names = [run.name for run in runs]
    return {run.name if names.count(run.name) == 1 else str(run.path): run for run in runs}


def not_comparable(named: Named) -> list[str]:
    """Say why numbers of the runs cannot be compared; nothing where they can."""
    kinds = {"job": {name: run.job for name, run in named.items()}}
    kinds |= {flag(key): values_of(named, key) for key in SAME}
    budgets = {name: run.summary.get("budget", UNSET) for name, run in named.items()}
    kinds["budget of the attack"] = {name: each or "none" for name, each in budgets.items()}
    return [
        f"Not comparable: {what} differs ("
        + "; ".join(f"{name}: {value}" for name, value in values.items())
        + ")."
        for what, values in kinds.items()
        if len(set(values.values())) > 1
    ]


def values_of(named: Named, key: str) -> dict[str, str]:
    """Return the value of an option in each run, as a cell; a job may have no such option."""
    return {
        name: option_text(run.options.get(key)) if has_option(run, key) else NO_OPTION
        for name, run in named.items()
    }


def has_option(run: RunRecord, key: str) -> bool:
    """Tell whether a run's job has an option, be it set or, as a comment, not."""
    return key in run.options or f"\n# {flag(key)} =" in run.config


def option_text(value: Any) -> str:
    """Return the value of an option as a cell.

    >>> option_text(["pgd", "fgsm"]), option_text(0.1), option_text(None)
    ('pgd, fgsm', '0.1', 'not set')
    """
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return UNSET if value is None else str(value)


def headline_rows(named: Named) -> list[dict[str, str]]:
    """Return the headline numbers of all runs, a number a row."""
    found = {
        name: {each.name: f"{each.text}{counted(each.of)}" for each in some}
        for name, some in ((name, headlines(run.summary)) for name, run in named.items())
    }
    rows = dict.fromkeys(key for each in found.values() for key in each)
    return [
        {"number": key} | {name: each.get(key, "-") for name, each in found.items()} for key in rows
    ]


def counted(of: str) -> str:
    """Return how many samples a number is of, behind it; "" where it is of no count.

    >>> counted("360 test samples"), counted("the network")
    (', of 360', '')
    """
    first = of.partition(" ")[0]
    return f", of {first}" if first.isdigit() else ""


def option_rows(named: Named) -> list[dict[str, str]]:
    """Return the options that are not the same in all runs of jobs that have them, one a row.

    Attacks are told of every job: each has another option for those that it measures.
    """
    keys = dict.fromkeys(key for run in named.values() for key in run.options)
    rows = {flag(key): values_of(named, key) for key in keys}
    return [
        {"option": key} | values
        for key, values in rows.items()
        if len({value for value in values.values() if value != NO_OPTION or "attacks" in key}) > 1
    ]


def attack_rows(named: Named) -> list[dict[str, str]]:
    """Return accuracies under attacks, an attack with its budget a row."""
    found = {name: accuracies(run.summary) for name, run in named.items()}
    rows = dict.fromkeys(key for each in found.values() for key in each)
    return [
        {"attack": attack, "budget": budget}
        | {name: each.get((attack, budget), "-") for name, each in found.items()}
        for attack, budget in rows
    ]


def accuracies(summary: Row) -> dict[tuple[str, str], str]:
    """Return the accuracy under each attack of a run, by its name and budget."""
    if summary["job"] == "rounds":
        best = summary["rounds"][summary["best_round"]]
        bounds, budgets = best.get("robust_accuracy_interval", {}), best.get("budgets", {})
        found = {
            (name, budgets.get(name) or "-"): percent(rate, bounds.get(name))
            for name, rate in best["robust_accuracy"].items()
        }
        return found | measured(summary.get("final", {}))
    return measured(summary)


def measured(summary: Row) -> dict[tuple[str, str], str]:
    """Return the same of attacks as `evaluate` measures them."""
    return {
        (name, one.get("budget") or "-"): percent(
            one["robust_accuracy"], one.get("robust_accuracy_interval")
        )
        for name, one in summary.get("attacks", {}).items()
        if "robust_accuracy" in one
    }


def round_charts(named: Named) -> list[Markup]:
    """Draw the accuracies over the rounds, a line each run; none without runs of rounds."""
    rows = {name: run.summary["rounds"] for name, run in named.items() if run.job == "rounds"}
    if not rows:
        return []
    return [
        share_chart(
            {name: [(row["round"], row[key]) for row in each] for name, each in rows.items()},
            title=f"{title}, with 95 % intervals",
            x_label="round",
            ranges={
                name: [row[f"{key}_interval"] for row in each]
                for name, each in rows.items()
                if all(row.get(f"{key}_interval") for row in each)
            },
        )
        for key, title in CHARTS.items()
    ]
