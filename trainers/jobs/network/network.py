"""The job `network`: what a classifier's layers respond to."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from explain.network.projector import write_embedding
from trainers.jobs.attack_files import write_csv
from trainers.jobs.network.embedding import labels
from trainers.jobs.network.parts import PARTS, choose_parts
from trainers.jobs.network.setup import NetworkSetup, Shown, set_up_network
from trainers.run.cli.jobs.network import NetworkJobConfig
from trainers.run.cli.toml import dump
from trainers.run.folder.atomic import write_summary
from trainers.run.folder.checkpoint import Saved, is_finished, load_item, save_item
from trainers.run.folder.folder import RunFolder
from trainers.run.show.images import write_png
from trainers.run.show.outcome import legend, outcome
from trainers.run.show.outcomes.network import network_lines, network_terms
from trainers.run.show.report import write_report
from trainers.run.show.tensorboard_writer import TensorBoardWriter

log = logging.getLogger(__name__)


def run_network(config: NetworkJobConfig, folder: RunFolder) -> None:
    """Look at the network part by part, and show what was found."""
    setup = set_up_network(config, folder)
    parts, left_out = choose_parts(setup)
    text = dump(folder.job, config)
    board = TensorBoardWriter(folder.path / "tensorboard", folder.metrics, text)
    found = {name: find_resumable(setup, name) for name in parts}
    shown = {name: PARTS[name].show(setup, each) for name, each in found.items()}
    pictures = write_files(folder, shown)
    summary = {
        "job": "network",
        "samples": len(setup.ds),
        "parts": {name: each.facts for name, each in shown.items()},
        "pictures": {
            name: [f"{picture}.png" for picture in each.pictures] for name, each in shown.items()
        },
        "warnings": left_out,
    }
    write_summary(folder.path / "summary.json", summary)
    if "embedding" in found:
        project(board, setup, found["embedding"])
    publish(folder, board, summary, pictures)


def find_resumable(setup: NetworkSetup, name: str) -> Saved:
    """Return what a part found; made, or found as made."""
    folder = setup.context.folder
    file = folder.checkpoints / f"network-{name}.safetensors"
    if not is_finished(file):
        log.info("%s", name)
        tensors, note = PARTS[name].find(setup)
        folder.check_held()
        save_item(file, {key: value.contiguous() for key, value in tensors.items()}, note)
    return load_item(file)


def write_files(folder: RunFolder, shown: Mapping[str, Shown]) -> list[Path]:
    """Write figures and tables; return the figures in the order of the parts."""
    pictures = []
    for part in shown.values():
        for name, picture in part.pictures.items():
            pictures.append(folder.figures / f"{name}.png")
            write_png(pictures[-1], picture)
        for name, rows in part.tables.items():
            write_csv(folder.path / f"{name}.csv", rows)
    return pictures


def project(board: TensorBoardWriter, setup: NetworkSetup, found: Saved) -> None:
    """Write the embedding for TensorBoard's projector."""
    tensors = found[0]
    board.forget_embeddings()
    write_embedding(
        board.writer,
        tensors["vectors"],
        labels=labels(setup),
        x=tensors["sprites"].float() / 255,
        tag=setup.vectors.shown,
    )


def publish(
    folder: RunFolder,
    board: TensorBoardWriter,
    summary: Mapping[str, Any],
    pictures: Sequence[Path],
) -> None:
    """Show the outcome: TensorBoard, report, terminal."""
    for picture in pictures:
        board.picture(f"network/{picture.stem}", picture, step=0)
    lines, terms = network_lines(summary), network_terms(summary)
    board.text("results", lines)
    board.close(summary)
    write_report(folder.path)
    log.info("%s\n", legend(terms))
    log.info("%s", outcome(folder))
