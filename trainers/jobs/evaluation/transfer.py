"""Samples made on each of several classifiers, tried on all, in a run of `evaluate`."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from attacks import Attack
from attacks.common.randomness import derive_seed
from augment import Dataset
from trainers.evaluate.evaluation import AttackedBatch
from trainers.evaluate.masking.compare_attacks import TRANSFER, MaskingCheck, compare
from trainers.evaluate.measure_resumable import (
    AttackTask,
    item_file,
    item_files,
    measure_resumable,
)
from trainers.evaluate.scores import Columns, join_columns
from trainers.evaluate.transfer import transfer_columns, transfer_counts, transfer_rows
from trainers.jobs.evaluation.evaluation_run import EvaluationRun
from trainers.run.cli.jobs.evaluate import EvaluateConfig
from trainers.run.cli.specs.attacks import build_attack, slug
from trainers.run.folder.checkpoint import load_item, save_item
from trainers.run.folder.folder import RunFolder
from trainers.run.job_context import load_job_classifier
from trainers.run.show.figures.evaluation import transfer_chart
from trainers.run.show.plots import write_chart

SELF = "this"  # the job's own classifier in the table


def load_others(config: EvaluateConfig, folder: RunFolder, ds: Dataset) -> dict[str, nn.Module]:
    """Load the classifiers of --transfer, by name.

    Raises:
        ValueError: for a text that is no NAME=WEIGHTS, or a name that stands twice.
        RefusedInput: for weights that do not fit.
    """
    found: dict[str, nn.Module] = {}
    for text in config.measure.transfer:
        name, mark, rest = text.partition("=")
        weights, _, model = rest.partition(",model=")
        if not (name and mark and weights) or name in (*found, SELF):
            raise ValueError(
                f"--transfer {text}; give NAME=WEIGHTS or NAME=WEIGHTS,model=MODEL, each name once "
                f"and none of them {SELF!r}, which is the classifier evaluated"
            )
        flags = replace(config.classifier, weights=weights, model=model or config.classifier.model)
        other = replace(config, classifier=flags)
        found[name] = load_job_classifier(other, folder, ds, flag=f"--transfer {name}").model
    return found


def measure_transfer(
    run: EvaluationRun, others: Mapping[str, nn.Module]
) -> tuple[dict[str, Any] | None, list[MaskingCheck]]:
    """Try samples made on each classifier on all of them.

    Returns:
        What summary.json says, None without others; and whether samples made elsewhere fool the
        classifier more often than its own do.
    """
    if not others:
        return None, []
    flags = run.config.measure
    models = {SELF: run.context.model, **others}
    attack = build_attack(flags.transfer_attack, defaults={**run.defaults, "early_stop": False})
    some = run.test.subset(run.some(flags.transfer_samples))
    columns = {name: try_samples(run, name, models, attack, some) for name in models}
    counts = [transfer_counts(columns[name], place) for place, name in enumerate(models)]
    fooled, attackable = (torch.stack(part) for part in zip(*counts, strict=True))
    names = list(models)
    rates = (fooled.double() / attackable).tolist()
    chart = transfer_chart(rates, names, flags.transfer_attack)
    write_chart(run.context.folder.figures / "transfer.png", chart)
    summary = {
        "attack": flags.transfer_attack,
        "samples": len(some),
        "models": names,
        "pairs": transfer_rows(names, fooled, attackable),
    }
    return summary, compare_transfer(columns, flags.transfer_attack)


def try_samples(
    run: EvaluationRun,
    source: str,
    models: Mapping[str, nn.Module],
    attack: Attack,
    ds: Dataset,
) -> Columns:
    """Make samples on one classifier, item by item, and try them on all."""
    items, tried = run.folder(f"transfer-{slug(source)}"), run.folder(f"tried-{slug(source)}")

    def watch(number: int, batch: AttackedBatch) -> list[Path]:
        file = tried / item_file(number)
        save_item(file, transfer_columns(batch, models))
        return [file]

    context = replace(run.context, model=models[source])
    seed = derive_seed(run.context.seed, "transfer")
    task = AttackTask(f"transfer from {source}", attack, ds, items, seed)
    measure_resumable(context, task, watch=watch)
    return join_columns([load_item(file)[0] for file in item_files(tried, context, ds)])


def compare_transfer(columns: Mapping[str, Columns], attack: str) -> list[MaskingCheck]:
    """Compare samples made on each other classifier with those made on the one evaluated."""
    own = columns[SELF]
    found = []
    for place, (name, other) in enumerate(columns.items()):
        if name == SELF:
            continue
        both = own["right"][:, 0] & own["right"][:, place]
        theirs: Tensor = both & ~other["kept"][:, 0]
        ours: Tensor = both & ~own["kept"][:, 0]
        weak, strong = {f"{attack} made on {name}": theirs}, {f"{attack} made on {SELF}": ours}
        found.append(compare(TRANSFER, weak, strong))
    return found
