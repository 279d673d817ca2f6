"""The report of `attack`."""

import csv
from collections.abc import Mapping, Sequence
from typing import Any

from trainers.run.folder.record import RunRecord
from trainers.run.show.headline import headlines
from trainers.run.show.outcomes.attack import TOP, fit_lines, not_counted, storage
from trainers.run.show.reports.parts.content import REPORTED, Report, Section, Table
from trainers.run.show.reports.parts.samples import failure_section
from trainers.run.show.reports.parts.words import data_of, end_of_lead, model_of
from trainers.run.show.text_table import number, percent

Row = Mapping[str, Any]
NAMES = ("id", "label", "before", "after")  # columns that hold no numbers
SHOWN = 50  # samples in the table; scores.csv has them all
# The columns of scores.csv that the table has, their headings, and what these mean.
COLUMNS = {
    "id": ("sample", "its name in the data"),
    "label": ("label", "its class"),
    "before": ("answer before", "the class with the highest score before the attack"),
    "before_score": ("score before", "probability that the classifier gives that class"),
    "after": ("answer after", "the class with the highest score after the attack"),
    "after_score": ("score after", "probability that the classifier gives that class"),
    "attackable": ("could be attacked", "whether it was right before, or not at the target yet"),
    "success": ("fooled", "whether the attack reached its goal"),
    "mean_abs": ("mean change", "mean change of a value, black to white being 1"),
    "queries": ("queries", "how often the classifier was asked about the sample"),
}  # fmt: skip
OF_CHANGE = {
    "measure": "what is measured",
    "median": "of the samples fooled",
    "mean": "of the samples fooled; of queries and loss: of all samples",
}


def attack_report(run: RunRecord) -> Report:
    """Return the content of the report of an attack.

    Args:
        run: of the job `attack`.
    """
    summary = run.summary
    held = f"held to {summary['budget']}" if summary["budget"] else "held to no budget"
    goal = "any wrong class" if summary["target"] is None else str(summary["target"])
    lead = (
        f"{summary['attack']}, {held}, led {summary['samples']} samples of {data_of(run)} to "
        f"{goal} on {model_of(run)}. {end_of_lead(run)}"
    )
    pictures = [run.figures / f"attack-{name}" for name in ("clips.gif", "frames.png", "loss.png")]
    sections = [
        failure_section(run.path, summary, heading="Samples that were right and fell"),
        Section("What the attack did", facts(summary), tables=[measures(summary)]),
        Section("Loss and frames" if pictures[0].is_file() else "Loss", figures=pictures),
        Section(
            "Samples",
            [f"the first {SHOWN} of {summary['samples']}; scores.csv has all"]
            if summary["samples"] > SHOWN
            else [],
            tables=[samples_table(run)],
        ),
        Section(
            "A batch before and after",
            ["Right before, below each picture the answer and its score."],
            figures=[run.figures / "attack-samples.png"],
            folded=True,
        ),
    ]
    return Report(lead, headlines(summary), summary["warnings"], sections)


def facts(summary: Row) -> list[str]:
    """Say what the attack was fitted to, who was not counted, and what the classifier says."""
    sums = summary["top_sum_after"]
    return [
        *fit_lines(summary),
        f"The attack succeeds on {percent(summary['success'], summary['success_interval'])} of the "
        f"{summary['attackable']} samples that could be attacked.",
        f"{not_counted(summary)}.",
        f"{storage(summary['saved'])}.",
        f"The answer changed on {summary['top_class_changed']:.1%} of all {summary['samples']}.",
        f"Scores of the {TOP} classes that led before, added up after the attack: mean "
        f"{number(sums['mean'], '.3f')}, largest {number(sums['largest'], '.3f')}.",
    ]


def measures(summary: Row) -> Table:
    """Return the sizes of the changes, the queries, and what the attack alone reports."""
    rows = [
        *(measure(f"change, {name}", median, None) for name, median in summary["norms"].items()),
        measure("mean change of a value", None, summary["delta_l1"]),
        measure("share of values that change by less than 1/255", None, summary["delta_sparsity"]),
        measure("queries", None, summary["queries"]),
        measure("loss at the end", None, summary["loss"]),
        *(
            measure(f"{name} ({one['n']} samples)", one["median"], one["mean"])
            for name, one in summary.get("reported", {}).items()
        ),
    ]
    return Table(rows, OF_CHANGE)


def measure(name: str, median: float | None, mean: float | None) -> dict[str, str]:
    """Return a row of the table of measures."""
    return {"measure": name, "median": number(median, ".4g"), "mean": number(mean, ".4g")}


def samples_table(run: RunRecord) -> Table:
    """Return the rows of scores.csv that are shown; what the attack alone reports comes last."""
    with (run.path / "scores.csv").open(newline="") as file:
        reader = csv.DictReader(file)
        names: Sequence[str] = reader.fieldnames or ()
        rows = [row for row, _ in zip(reader, range(SHOWN), strict=False)]
    own = list(names)[list(names).index("queries") + 1 :]
    headings = {name: heading for name, (heading, _) in COLUMNS.items()} | {
        name: name for name in own
    }
    terms = dict(COLUMNS.values()) | dict.fromkeys(own, REPORTED)
    cells = [{heading: cell(name, row[name]) for name, heading in headings.items()} for row in rows]
    return Table(cells, terms)


def cell(column: str, text: str) -> str:
    """Return a cell of scores.csv as a table shows it.

    >>> cell("success", "True"), cell("after_score", "0.123456789"), cell("id", "0.5")
    ('yes', '0.1235', '0.5')
    """
    if column in NAMES:
        return text
    if text in ("True", "False"):
        return "yes" if text == "True" else "no"
    try:
        return text if text.lstrip("-").isdigit() else f"{float(text):.4f}"
    except ValueError:  # several numbers
        return text
