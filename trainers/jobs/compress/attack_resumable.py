"""Perturbed samples for codes of differences, so that a killed run goes on."""

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
from trainers.evaluate.measure_resumable import AttackTask, item_file, item_files, measure_resumable
from trainers.run.cli.config import SamplesConfig
from trainers.run.cli.presets import budget
from trainers.run.cli.specs.attacks import attack_defaults, build_attack
from trainers.run.folder.checkpoint import load_item, save_item
from trainers.run.job_context import JobContext

log = logging.getLogger(__name__)
ATTACK = "pgd"  # where none is named


def choose_attack(config: SamplesConfig, text: str | None) -> tuple[str, Attack]:
    """Make the attack that a text describes, with the data's usual budget; return its name too.

    Raises:
        ValueError: see `build_attack`; also for one that needs a class to reach.
    """
    text = text or ATTACK
    norm = next(
        (norm for norm in get_args(Norm) if f"norm={norm}" in text.replace(" ", "")), "linf"
    )
    defaults = attack_defaults(config, eps=budget(config.source.data, norm), norm=norm)
    attack = build_attack(text, defaults=defaults)
    if getattr(attack, "needs_target", False):
        raise ValueError(f"the attack {text} needs a class to reach; take one that needs none")
    return text, attack


def log_doubts(context: JobContext, ds: Dataset) -> None:
    """Say where the classifier of a job does not seem to know the samples."""
    model, device = context.model, context.device
    for doubt in clean_doubts(model, ds, batch_size=context.batch_size, device=device):
        log.warning("%s", doubt)


def attack_resumable(
    context: JobContext, name: str, attack: Attack, ds: Dataset, *, into: str = "x_adv"
) -> Tensor:
    """Return the perturbed samples, like the samples; each batch of them is kept when done.

    Args:
        context: the job's classifier and folder.
        name: of the attack, for messages.
        attack: the attack.
        ds: the samples.
        into: name, among the checkpoints, of what is kept.
    """
    kept, items = (context.folder.checkpoints / f"{into}{end}" for end in ("", "-scores"))
    task = AttackTask(name, attack, ds, items, derive_seed(context.seed, "attack"))
    measurement, _ = measure_resumable(context, task, watch=partial(_keep, kept))
    for doubt in measurement.doubts:
        log.warning("%s", doubt)
    files = item_files(kept, context, ds)
    return torch.cat([load_item(file)[0]["x_adv"] for file in files])


def _keep(folder: Path, number: int, batch: AttackedBatch) -> list[Path]:
    file = folder / item_file(number)
    save_item(file, {"x_adv": batch.result.x_adv})
    return [file]
