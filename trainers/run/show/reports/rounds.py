"""The report of `rounds`."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from trainers.run.folder.record import RunRecord
from trainers.run.show.headline import headlines
from trainers.run.show.outcome import ROUND_TERMS, columns, shown
from trainers.run.show.outcomes.evaluation import class_rows
from trainers.run.show.reports.parts.charts import share_chart
from trainers.run.show.reports.parts.content import Report, Section, Table, Tile
from trainers.run.show.reports.parts.measured import CLASS_TERMS, attacked_section
from trainers.run.show.reports.parts.samples import failure_tiles, top_table
from trainers.run.show.reports.parts.words import count, data_of, end_of_lead, listed, subject

Row = Mapping[str, Any]
TERMS = ROUND_TERMS | {
    "round": "0 is the classifier before it was fitted to a perturbed sample",
    "of": "how many test samples could be attacked by the attack whose success is told",
    "seconds": "that the round took, all processes together",
}
REVIEW_TERMS = {
    "round": TERMS["round"],
    "persons accepted": "samples that persons found still to be of their class",
    "persons rejected": "samples that persons found no longer to be of it",
    "persons unsure": "samples that persons could not tell, or disagreed on",
    "program accepted": "samples that --auto-review found clearly of their class",
    "program rejected": "samples that --auto-review found clearly changed",
    "agree": "of the samples that both decided on, on how many it was the same",
}
LOOKED_AT = (
    "Test samples with their class, and the probability that the classifier gives it before and "
    "after the rounds. Each map is a share of its own sum: in the columns of changes, blue is what "
    "is looked at less, red what is looked at more."
)
VERDICTS = {"fooled": "FOOLED", "held": "held", "wrong": "wrong before"}


def rounds_report(run: RunRecord) -> Report:
    """Return the content of the report of rounds.

    Args:
        run: whose summary.json has round 0 at least.
    """
    summary, path = run.summary, run.path
    rows, best = summary["rounds"], summary["rounds"][summary["best_round"]]
    table = Table([columns(row) for row in rows], TERMS)
    sections = [
        Section("Accuracy through the rounds", ending(summary), [accuracy_chart(summary)]),
        Section("The rounds", tables=[table]),
        Section(
            "Who decided what is fitted",
            ["Of the perturbed samples of each round, by the time that its fit began."],
            tables=[review_table(rows)],
        ),
        *([attacked_section(summary["final"], heading="At the end")] if "final" in summary else []),
        Section(
            "The same test samples through the rounds",
            [f"Attacked by {best['attack']} in each round: held, or fooled."],
            tiles=followed_tiles(run) or {"": ()},
        ),
        Section(
            f"Worst failures of round {best['round']}",
            ["Test samples that were right before, and the surest wrong answers to them."],
            tiles={"": failure_tiles(path, best.get("failures", ()))},
        ),
        Section(
            "Classes",
            [f"In round {best['round']}, whose classifier is handed over."],
            tables=[class_table(best)],
        ),
        Section(
            "What did the classifier stop looking at?",
            [LOOKED_AT],
            figures=[run.figures / "looked-at.png"],
        ),
    ]
    warnings = dict.fromkeys(text for row in rows for text in row.get("warnings", ()))
    return Report(lead(run), headlines(summary), list(warnings), sections)


def lead(run: RunRecord) -> str:
    """Say what was played."""
    played, options = len(run.summary["rounds"]) - 1, run.options
    return (
        f"{subject(run)} on {data_of(run)}: {count(played, 'round')} of attacking "
        f"training samples with {listed(names_of(options['attacks']))} at {options['norm']} "
        f"{options['eps']:.4g}, fitting the classifier to what fooled it, and attacking again. "
        f"{end_of_lead(run)}"
    )


def ending(summary: Row) -> list[str]:
    """Say why the run is over, and which round's classifier it hands over."""
    if summary["stopped"] is None:
        return []
    chosen = summary["rounds"][0]["validation"] is not None
    why = "the most robust on validation samples" if chosen else "the last"
    return [
        f"Stopped: {summary['stopped']}. Handed over: round {summary['best_round']}, {why}. "
        f"{summary['seconds']:.0f} seconds."
    ]


def accuracy_chart(summary: Row) -> Markup:
    """Draw what is right in each round: clean, in the worst case, and under attacks."""
    rows = summary["rounds"]
    keys: dict[str, tuple[str, str | None]] = {"clean": ("clean_accuracy", None)}
    if len(rows[0]["robust_accuracy"]) > 1:
        keys["worst case"] = ("worst_case", None)
    keys |= {f"under {n}": ("robust_accuracy", n) for n in shown(rows[0]["robust_accuracy"])}
    lines, ranges = {}, {}
    for name, key in keys.items():
        lines[name] = [(row["round"], pick(row, *key)) for row in rows]
        bounds = [pick(row, f"{key[0]}_interval", key[1]) for row in rows]
        if all(bounds):
            ranges[name] = bounds
    known = [row for row in rows if row["attack_success"] is not None]
    withstood = f"{rows[0]['attack']} withstood"
    lines[withstood] = [(row["round"], 1 - row["attack_success"]) for row in known]
    bounds = [row.get("attack_success_interval") for row in known]
    if known and all(bounds):
        ranges[withstood] = [(1 - high, 1 - low) for low, high in bounds]
    return share_chart(
        {name: points for name, points in lines.items() if points},
        title="Share of test samples that stay right, with 95 % intervals",
        x_label="round",
        ranges=ranges,
        mark=(summary["best_round"], "handed over") if summary["stopped"] else None,
    )


def pick(row: Row, key: str, attack: str | None) -> Any:
    """Return a value of a round, of an attack where the value is by attack; None for no such."""
    value = row.get(key)
    return value if attack is None or value is None else value.get(attack)


def followed_tiles(run: RunRecord) -> dict[str, list[Tile]]:
    """Return the samples that all rounds attack, each with its picture in every round."""
    tiles: dict[str, list[Tile]] = {}
    for row in run.summary["rounds"]:
        for one in row.get("followed", ()):
            tile = Tile(
                run.path / one["picture"],
                f"round {row['round']}",
                verdict=VERDICTS[one["outcome"]],
                table=top_table(one),
                folded=True,
            )
            tiles.setdefault(f"{one['id']}, true: {one['label']}", []).append(tile)
    return tiles


def review_table(rows: Sequence[Row]) -> Table:
    """Return the decisions on the samples of each round; no rows where nobody decided."""
    decided = [row for row in rows if decisions(row)]
    return Table([review_cells(row) for row in decided], REVIEW_TERMS)


def decisions(row: Row) -> int:
    """Return how many samples of a round persons or a program decided on."""
    found = row.get("reviews", {})
    return sum(sum(found.get(key, {}).values()) for key in ("people", "automatic"))


def review_cells(row: Row) -> dict[str, str]:
    """Return who accepted, rejected or left how many samples of a round, and who agreed."""
    found = row["reviews"]
    cells = {
        f"{who} {status}": str(found[key].get(status, 0))
        for who, key in (("persons", "people"), ("program", "automatic"))
        for status in ("accepted", "rejected", "unsure")
        if (who, status) != ("program", "unsure")
    }
    agree = f"{found['agree']} of {found['both']}" if found["both"] else "-"
    return {"round": str(row["round"]), **cells, "agree": agree}


def class_table(row: Row) -> Table:
    """Return the accuracies of each class in a round; no rows of a run that did not note them."""
    if "classes" not in row:
        return Table((), {})
    return Table(class_rows(row), CLASS_TERMS | under(row))


def under(row: Row) -> dict[str, str]:
    """Return what the columns of single attacks mean in a table of classes."""
    return {name: f"share that is right under {name}" for name in row["robust_accuracy"]}


def names_of(attacks: Sequence[str]) -> list[str]:
    """Return attacks without their options."""
    return [text.partition(":")[0] for text in attacks]
