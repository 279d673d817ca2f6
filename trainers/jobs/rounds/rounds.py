"""The rounds: attack the training samples, retrain on what fools, attack again.

The run folder is the only state. Every item of work (a batch attacked, an epoch fitted, a batch
measured, a round) ends with a file that appears whole, and whose presence means done; what the
file holds follows from the options, the seed and the item's place alone. To resume is therefore
to run again: what is done is skipped, and nothing else differs.

Source: Rey-de-Castro & Rabitz 2018, section 5.3.
"""

import logging
from functools import partial
from pathlib import Path
from typing import Any

from augment.bank.bank import stored_keys
from trainers.evaluate.failures import drawn_failures
from trainers.fit.fit_or_load import load_weights
from trainers.jobs.rounds.explaining import explain_rounds
from trainers.jobs.rounds.features import features_file
from trainers.jobs.rounds.following import followed_ids, followed_pictures
from trainers.jobs.rounds.measuring import list_stages, measure_best, measure_round
from trainers.jobs.rounds.report import RoundsReport
from trainers.jobs.rounds.reviewing import is_reviewed
from trainers.jobs.rounds.setup import Rounds, round_name, setup
from trainers.jobs.rounds.stopping import best_round, cannot_stop, stop_reason
from trainers.jobs.rounds.training import list_round_items, train_round
from trainers.run.cli.config import RoundsConfig
from trainers.run.folder.atomic import cached_json, is_cached, is_present
from trainers.run.folder.checkpoint import load_item, save_item
from trainers.run.folder.folder import RunFolder, remove_items
from trainers.run.folder.metrics import Stopwatch
from trainers.run.folder.stage_plan import StagePlan

BEST = "best.safetensors"  # the classifier that the run hands over

log = logging.getLogger(__name__)
Row = dict[str, Any]


def run_rounds(config: RoundsConfig, folder: RunFolder) -> None:
    """Attack, retrain and measure, round by round, until there is a reason to stop."""
    rounds, report = setup(config, folder), RoundsReport(folder, config)
    folder.plan = StagePlan(list_stages(rounds))
    rows: list[Row] = []
    reason = None
    while reason is None:
        number = len(rows)
        rows.append(run_round(rounds, number, rows[0] if rows else None))
        reason = stop_reason(rows, config.loop)
        if cannot_stop(rows, config.loop):
            log.info(
                "the generator leaves most test samples above --loss-threshold in round 0 already; "
                "that rule waits for a round in which it does not"
            )
        final = None
        if reason is not None:
            final = hand_over(rounds, best_round(rows))
            explain_rounds(rounds, best_round(rows))
        report.publish(rows, reason, final)
        remove_items(rounds.file(number))  # its row is all that is needed


def hand_over(rounds: Rounds, number: int) -> Row | None:
    """Keep the classifier of a round under a name of its own, and measure it as was asked.

    Returns:
        What `evaluate` says of it under --final-attacks; None where there are none.
    """
    checkpoints = rounds.context.folder.checkpoints
    if not is_present(file := checkpoints / BEST):
        save_item(file, *load_item(rounds.file(number, ".safetensors")))
    if not rounds.final_attacks:
        return None
    load_weights(rounds.context.model, file)
    final: Row = cached_json(checkpoints / "final.json", lambda: measure_best(rounds, number))
    remove_items(rounds.file(number))
    return final


def run_round(rounds: Rounds, number: int, first: Row | None) -> Row:
    """Attack, retrain and measure once; round 0 only fits and measures.

    What is missing of a round that is over is made again, with the classifier and the bank of then.
    Its seconds are those of all processes that worked on it; of a killed one, up to the last item
    it finished, or two seconds less.

    Args:
        rounds: the run.
        number: the round.
        first: what was measured in round 0; None of that round itself.
    """
    folder = rounds.context.folder
    stopwatch = folder.stopwatch = Stopwatch(rounds.file(number) / "seconds.json")
    if not is_complete(rounds, number):
        train_round(rounds, number)

    def measure() -> Row:
        measured = measure_round(rounds, number, follow_ids=followed_ids(first))
        return measured | {"seconds": stopwatch.seconds}

    row: Row = cached_json(
        rounds.file(number, ".json"),
        measure,
        beside=partial(files_of_round, folder, number),
    )
    return row


def files_of_round(folder: RunFolder, number: int) -> list[Path]:
    """Return what a round leaves beside its row: pictures, and the features of its samples."""
    features = features_file(folder.checkpoints, number)
    figures = folder.figures / round_name(number)
    pictures = [*followed_pictures(figures), *drawn_failures(figures)]
    return [*pictures, *([features] if features.is_file() else [])]


def is_complete(rounds: Rounds, number: int) -> bool:
    """Tell whether nothing that a round leaves is missing."""
    keys = {key for key, *_ in list_round_items(rounds, number)}
    bank = rounds.context.folder.path / "bank"
    return (
        is_present(rounds.file(number, ".safetensors"))
        and keys <= stored_keys(bank)
        and (number == 0 or is_reviewed(rounds, number))
        and is_cached(rounds.file(number, ".json"))
        and round_name(number) in rounds.context.folder.metrics.lines
    )
