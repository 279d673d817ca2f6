"""Perturbed samples for codes of differences, so that a killed run goes on."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

from attacks import Attack
from attacks.attack import Norm
from attacks.common.randomness import derive_seed
from augment import Dataset
from trainers.evaluate.evaluation import AttackedBatch, clean_doubts
from trainers.evaluate.measure import Trial, item_file, item_files, measured
from trainers.run.cli.config import SamplesConfig
from trainers.run.cli.presets import budget
from trainers.run.cli.specs import build_attack, usual
from trainers.run.folder.checkpoint import load_item, save_item
from trainers.run.setting import Setting

log = logging.getLogger(__name__)
ATTACK = "pgd"  # where none is named


def chosen_attack(config: SamplesConfig, text: str | None) -> tuple[str, Attack]:
    """Make the attack that a text describes, with the data's usual budget; return its name too.

    Raises:
        ValueError: see `build_attack`; also for one that needs a class to reach.
    """
    text = text or ATTACK
    norm = next(
        (norm for norm in get_args(Norm) if f"norm={norm}" in text.replace(" ", "")), "linf"
    )
    weak = usual(config, eps=budget(config.source.data, norm), norm=norm)
    attack = build_attack(text, weak=weak)
    if getattr(attack, "needs_target", False):
        raise ValueError(f"the attack {text} needs a class to reach; take one that needs none")
    return text, attack


def warn_of_doubts(setting: Setting, ds: Dataset) -> None:
    """Say where the classifier of a job does not seem to know the samples."""
    model, device = setting.model, setting.device
    setting.folder.at_work = True  # what the user's code raises from here on is its failure
    for doubt in clean_doubts(model, ds, batch_size=setting.batch_size, device=device):
        log.warning("%s", doubt)


def attacked(
    setting: Setting, name: str, attack: Attack, ds: Dataset, *, into: str = "x_adv"
) -> Tensor:
    """Return the perturbed samples, like the samples; each batch of them is kept when done.

    Args:
        setting: the job's classifier and folder.
        name: of the attack, for messages.
        attack: the attack.
        ds: the samples.
        into: name, among the checkpoints, of what is kept.
    """
    kept, items = (setting.folder.checkpoints / f"{into}{end}" for end in ("", "-scores"))
    trial = Trial(name, attack, ds, items, derive_seed(setting.seed, "attack"))
    measurement, _ = measured(setting, trial, watch=partial(_keep, kept))
    for doubt in measurement.doubts:
        log.warning("%s", doubt)
    files = item_files(kept, setting, ds)
    return torch.cat([load_item(file)[0]["x_adv"] for file in files])


def _keep(folder: Path, number: int, batch: AttackedBatch) -> list[Path]:
    file = folder / item_file(number)
    save_item(file, {"x_adv": batch.result.x_adv})
    return [file]
