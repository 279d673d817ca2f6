"""Show the rounds: terminal, metrics, TensorBoard, summary.json, curves and report."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from trainers.jobs.rounds.board import RoundsBoard
from trainers.jobs.rounds.explaining import FIGURE
from trainers.jobs.rounds.following import followed_pictures
from trainers.jobs.rounds.setup import round_name
from trainers.jobs.rounds.stopping import best_round
from trainers.run.cli.config import RoundsConfig
from trainers.run.cli.toml import dump
from trainers.run.folder.atomic import write_summary
from trainers.run.folder.folder import RunFolder
from trainers.run.show.closing import closing_lines
from trainers.run.show.images import write_png
from trainers.run.show.outcome import (
    ROUND_TERMS,
    columns,
    handed_over,
    heading,
    legend,
    line,
    shown,
)
from trainers.run.show.plots import line_chart, to_picture
from trainers.run.show.report import write_report
from trainers.run.show.text_table import percent

log = logging.getLogger(__name__)
Row = Mapping[str, Any]


class RoundsReport:
    """Shows each round as it is done; only metrics.jsonl has a memory, all else is made from it."""

    def __init__(self, folder: RunFolder, config: RoundsConfig) -> None:
        """Open TensorBoard's folder."""
        self.folder = folder
        self.config = dump(folder.job, config)
        self.board = RoundsBoard(folder, self.config)

    def publish(self, rows: Sequence[Row], reason: str | None, final: Row | None) -> None:
        """Show the last of the rounds.

        Args:
            rows: all rounds so far.
            reason: why it was the last one; None when more will come.
            final: what `evaluate` says of the classifier that is handed over; None where it was
                not asked.
        """
        last = rows[-1]
        if len(rows) == 1:
            log.info("%s\n%s", legend(ROUND_TERMS), heading(last))
        log.info("%s", line(last))
        self.board.show_round(rows)
        summary = self.write(rows, reason, final)
        if reason is not None:
            closing = closing_lines(self.folder.path, summary)
            log.info("stopped: %s\n%s\n\n%s", reason, handed_over(summary), closing)
            self.board.finish(rows, summary)

    def write(self, rows: Sequence[Row], reason: str | None, final: Row | None) -> Row:
        """Write the files that show all rounds at once; return what summary.json has."""
        summary = {
            "job": "rounds",
            "seconds": sum(row["seconds"] for row in rows),
            "stopped": reason,
            "best_round": best_round(rows),
            "rounds": list(rows),
        }
        summary |= {"final": final} if final else {}
        write_summary(self.folder.path / "summary.json", summary)
        title = "Accuracy on test samples"
        chart = line_chart(accuracies(rows), title=title, x_label="round", y_label="share")
        write_png(self.folder.figures / "accuracy.png", to_picture(chart))
        content, over = report_content(self.folder, summary), reason is not None
        write_report(self.folder, "rounds.html", content, config=self.config, finished=over)
        return summary


def accuracies(rows: Sequence[Row]) -> dict[str, list[tuple[float, float]]]:
    """Return the curves of clean accuracy, robust accuracies and the main attack's success."""
    result = {"clean": [(row["round"], row["clean_accuracy"]) for row in rows]}
    if len(rows[0]["robust_accuracy"]) > 1:
        result["worst case"] = [(row["round"], row["worst_case"]) for row in rows]
    for name in shown(rows[0]["robust_accuracy"]):
        result[f"under {name}"] = [(row["round"], row["robust_accuracy"][name]) for row in rows]
    attack = f"{rows[0]['attack']} succeeds"
    known = [row for row in rows if row["attack_success"] is not None]
    result[attack] = [(row["round"], row["attack_success"]) for row in known]
    return result


def report_content(folder: RunFolder, summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables of the template rounds.html, by summary.json."""
    rows, figures = summary["rounds"], folder.figures
    pictures = {
        f"Round {row['round']}": followed_pictures(figures / round_name(row["round"]))
        for row in rows
    }
    return {
        "verdict": verdict(rows[0], rows[summary["best_round"]]),
        "ending": ending(summary),
        "final": handed_over(summary) if "final" in summary else "",
        "rows": [columns(row) for row in rows],
        "meanings": ROUND_TERMS,
        "messages": [text for row in rows for text in row.get("warnings", [])],
        "accuracy": folder.figures / "accuracy.png",
        "looked_at": folder.figures / FIGURE,
        "pictures": pictures,
    }


def verdict(first: Row, best: Row) -> str:
    """Say in a sentence what the rounds changed, up to the best of them."""
    robust = ", ".join(
        f"under {name} {value:.1%} -> {best['robust_accuracy'][name]:.1%}"
        for name, value in first["robust_accuracy"].items()
        if name in shown(first["robust_accuracy"])
    )
    success = " -> ".join(
        f"{percent(row['attack_success'])} of {row['attackable']}" for row in (first, best)
    )
    worst = " -> ".join(
        percent(row["worst_case"], row["worst_case_interval"]) for row in (first, best)
    )
    chosen = "" if best["validation"] is None else ", the most robust on validation samples"
    return (
        f"Right under whichever of {', '.join(best['worst_case_attacks'])} does best on each "
        f"test sample: {worst}, from round {first['round']} to round {best['round']}{chosen}; "
        f"clean {first['clean_accuracy']:.1%} -> {best['clean_accuracy']:.1%}, {robust}. "
        f"{best['attack']} succeeds on {success} samples that could be attacked."
    )


def ending(summary: Row) -> str:
    """Say whether the run is over, and why."""
    if summary["stopped"] is None:
        return "The run is not over."
    return f"Stopped: {summary['stopped']}. {summary['seconds']:.0f} seconds."
