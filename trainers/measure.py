"""Measure an attack on held-out samples, item by item, so that a killed run goes on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from attacks import Attack
from trainers.budgets import Budget, budget_of
from trainers.evaluation import (
    AttackedBatch,
    AttackMeasurement,
    attack_batches,
    score_batch,
    summarise,
)
from trainers.harvest import warn
from trainers.run.checkpoint import load_tensors, save_tensors
from trainers.run.progress import Progress
from trainers.setting import Setting

if TYPE_CHECKING:
    from augment import Dataset

log = logging.getLogger(__name__)
Watch = Callable[[int, AttackedBatch], None]  # called with an item's number and what it made


@dataclass(frozen=True)
class Trial:
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


def measured(
    setting: Setting, trial: Trial, *, watch: Watch | None = None
) -> tuple[AttackMeasurement, dict[str, Tensor]]:
    """Attack all samples and measure; `watch` sees each batch before it counts as finished.

    Returns:
        The measurement, and each sample's columns (N,).
    """
    total = -(-len(trial.ds) // setting.batch_size)
    done = sum((trial.items / _file(i)).exists() for i in range(total))
    batches = attack_batches(
        trial.attack,
        setting.model,
        trial.ds,
        batch_size=setting.batch_size,
        seed=trial.seed,
        device=setting.device,
        target=trial.target,
        skip=done,
    )
    with Progress(setting.folder, f"measure {trial.name}", total=total, done=done) as bar:
        for i in range(done, total):
            started = time.monotonic()
            batch = next(batches)
            seconds = time.monotonic() - started
            warn(trial.name, batch.result)
            if watch:
                watch(i, batch)
            note = {"seconds": seconds, "warnings": batch.result.info.get("warnings", [])}
            note["classes"] = batch.classes
            save_tensors(trial.items / _file(i), score_batch(batch), note)
            bar.step()
    return collect(trial.items, total, budget=budget_of(trial.attack))


def collect(
    items: Path, total: int, *, budget: Budget | None
) -> tuple[AttackMeasurement, dict[str, Tensor]]:
    """Join the finished batches of a folder."""
    columns, notes = zip(*(load_tensors(items / _file(i)) for i in range(total)), strict=True)
    warnings = list(dict.fromkeys(text for note in notes for text in note["warnings"]))
    seconds = sum(note["seconds"] for note in notes)
    joined = {key: torch.cat([part[key] for part in columns]) for key in columns[0]}  # (N,)
    about = {"budget": budget, "classes": notes[0]["classes"]}
    return summarise(columns, seconds=seconds, warnings=warnings, **about), joined


def _file(number: int) -> str:
    """Return the name of a finished batch's file."""
    return f"{number:05}.safetensors"
