"""Measure an attack on held-out samples, item by item, so that a killed run goes on."""

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from attacks import Attack, AttackResult
from augment import Dataset
from trainers.evaluate.budgets import budget_of
from trainers.evaluate.evaluation import AttackedBatch, attack_batches, score_batch
from trainers.evaluate.scores import AttackMeasurement, Columns, join_columns, summarise
from trainers.run.folder.checkpoint import is_finished, load_item, save_item
from trainers.run.folder.metrics import Stopwatch
from trainers.run.job_context import JobContext
from trainers.run.show.progress import Progress

log = logging.getLogger(__name__)
COUNTED = re.compile(r"(\d+) of \d+( samples .*)")  # a warning about some samples of a batch
# Called with an item's number and what it made; returns the files that it keeps of that.
Watch = Callable[[int, AttackedBatch], Sequence[Path]]


@dataclass(frozen=True)
class AttackTask:
    """An attack on some samples.

    Attributes:
        name: for messages.
        attack: the attack.
        ds: the samples.
        items: the folder of its finished batches, which are not done again.
        seed: the attack's seed.
        target: the class to reach; None for any wrong one.
    """

    name: str
    attack: Attack
    ds: Dataset
    items: Path
    seed: int
    target: int | None = None


def measure_resumable(
    context: JobContext, task: AttackTask, *, watch: Watch | None = None
) -> tuple[AttackMeasurement, Columns]:
    """Attack all samples and measure; `watch` sees each batch before it counts as finished.

    A batch that is missing is made, and one that misses a file that `watch` kept of it.

    Returns:
        The measurement, and each sample's columns (N,).
    """
    files = item_files(task.items, context, task.ds)
    missing = [i for i, file in enumerate(files) if not is_finished(file)]
    total, done = len(files), len(files) - len(missing)
    stopwatch = Stopwatch(task.items / "seconds.json")
    with Progress(context.folder, f"measure {task.name}", total=total, done=done) as bar:
        batches = attack_batches(
            task.attack,
            context.model,
            task.ds,
            batch_size=context.batch_size,
            seed=task.seed,
            device=context.device,
            target=task.target,
            numbers=missing,
            progress=bar.within,
        )
        for i, batch in zip(missing, batches, strict=True):
            context.folder.check_held()
            log_warnings(task.name, batch.result)
            beside = watch(i, batch) if watch else ()
            warnings = batch.result.info.get("warnings", [])
            note = {"warnings": warnings, "classes": batch.classes}
            stopwatch.keep()  # before the item: one that is done has its time in the file
            save_item(files[i], score_batch(batch), note, beside=beside)
            bar.step()
    stopwatch.keep()
    columns, notes = load_batches(task.items, context, task.ds)
    measurement = summarise(
        [columns],
        seconds=stopwatch.seconds,
        warnings=join_warnings([note["warnings"] for note in notes], len(task.ds)),
        budget=budget_of(task.attack),
        classes=notes[0]["classes"],
    )
    return measurement, columns


def log_warnings(name: str, result: AttackResult) -> None:
    """Log what an attack found wrong."""
    for warning in result.info.get("warnings", []):
        log.warning("%s: %s", name, warning)


def join_warnings(found: Sequence[Sequence[str]], samples: int) -> list[str]:
    """Return what was found wrong in all batches; samples that were counted are added up.

    >>> join_warnings([["2 of 3 samples are odd", "slow"], ["1 of 3 samples are odd"]], 6)
    ['3 of 6 samples are odd', 'slow']
    """
    counts: dict[str, int] = {}
    for text in chain.from_iterable(found):
        counted = COUNTED.fullmatch(text)
        key, count = (counted[2], int(counted[1])) if counted else (text, 0)
        counts[key] = counts.get(key, 0) + count
    return [f"{n} of {samples}{key}" if n else key for key, n in counts.items()]


def load_batches(folder: Path, context: JobContext, ds: Dataset) -> tuple[Columns, tuple[Any, ...]]:
    """Join what is kept of all batches of a data set; return the note of each, too."""
    parts, notes = zip(*map(load_item, item_files(folder, context, ds)), strict=True)
    return join_columns(parts), notes


def item_files(folder: Path, context: JobContext, ds: Dataset) -> list[Path]:
    """Return the files of all batches of a data set, finished or not, in their order."""
    return [folder / item_file(i) for i in range(-(-len(ds) // context.batch_size))]


def item_file(number: int) -> str:
    """Return the name of a finished batch's file."""
    return f"{number:05}.safetensors"
