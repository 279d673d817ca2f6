"""Show the rounds: terminal, metrics, TensorBoard, summary.json, curves and report."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from trainers.jobs.rounds.board import RoundsBoard
from trainers.jobs.rounds.stopping import best_round
from trainers.run.cli.config import RoundsConfig
from trainers.run.cli.toml import dump
from trainers.run.folder.atomic import write_summary
from trainers.run.folder.folder import RunFolder
from trainers.run.show.closing import closing_lines
from trainers.run.show.outcome import (
    ROUND_TERMS,
    handed_over,
    heading,
    legend,
    line,
)
from trainers.run.show.report import write_report

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
        write_report(self.folder.path)
        return summary
