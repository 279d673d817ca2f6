"""Publish the outcome of a job of `compress`: summary.json, TensorBoard, report, terminal."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainers.run.cli.toml import dump
from trainers.run.folder.atomic import write_summary
from trainers.run.folder.folder import RunFolder
from trainers.run.show.outcome import legend, outcome
from trainers.run.show.outcomes.compress import point_terms
from trainers.run.show.report import write_report
from trainers.run.show.tensorboard_writer import TensorBoardWriter

log = logging.getLogger(__name__)


def publish_outcome(
    config: Any, folder: RunFolder, summary: dict[str, Any], *, pictures: Sequence[Path]
) -> None:
    """Write and show the outcome of a job.

    Args:
        config: the job's options.
        folder: its run folder.
        summary: what summary.json is to hold.
        pictures: PNG files for TensorBoard and the report.
    """
    folder.check_held()
    text = dump(folder.job, config)
    board = TensorBoardWriter(folder.path / "tensorboard", folder.metrics, text)
    for picture in pictures:
        board.picture(f"compress/{picture.stem}", picture, step=0)
    board.close(summary)
    shown = {"pictures": [picture.name for picture in pictures]}
    write_summary(folder.path / "summary.json", summary | shown)
    write_report(folder.path)
    meanings = point_terms(summary)
    if meanings:
        log.info("%s\n", legend(meanings))
    log.info("%s", outcome(folder))
