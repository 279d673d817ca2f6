"""The job `attack`: perturb samples, and save them with scores and pictures."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from attacks import Attack
from attacks.fitting import Fittable
from attacks.randomness import derive_seed
from augment import Dataset
from trainers.attack_files import Collected, keep_batch, scores, write_samples, write_scores
from trainers.evaluating import finite
from trainers.evaluation import AttackedBatch, AttackMeasurement
from trainers.fitted_attack import aimed, ready
from trainers.fitting import trained
from trainers.measure import Trial, measured
from trainers.run.atomic import write_json
from trainers.run.board import Board
from trainers.run.config import AttackConfig
from trainers.run.drawing import draw_batch
from trainers.run.folder import RunFolder
from trainers.run.presets import budget
from trainers.run.report import PICTURES, image, pre, table, write_page
from trainers.run.specs import build_attack, build_fittable, is_fittable, usual
from trainers.run.table import attack_lines, outcome
from trainers.run.toml import dump
from trainers.setting import Setting, check_kind, load_split

log = logging.getLogger(__name__)
COLUMNS = (
    "id", "label", "before", "before_score", "after", "after_score", "success",
    "top_sum_before", "top_sum_after", "mean_abs",
)  # fmt: skip
SHOWN = 50  # samples in the report's table; scores.csv has them all


def run_attack(config: AttackConfig, folder: RunFolder) -> None:
    """Attack a split, batch by batch, then write what was found."""
    attack, name = chosen_attack(config), config.attacking.attack.partition(":")[0]
    ds = load_split(config, config.attacking.split, folder)
    target = class_number(config.attacking.target, ds)
    attack = aimed(attack, target)
    check_kind({name: attack}, ds, target=target)
    setting = trained(config, folder, ds)
    text = dump(folder.job, config)
    board = Board(folder.path / "tensorboard", folder.metrics, text)
    attack, about = ready(setting, name, attack)
    items, seed = folder.checkpoints / "attack", derive_seed(setting.seed, "attack")
    trial = Trial(config.attacking.attack, attack, ds, items, seed, target)
    result, columns = measured(setting, trial, watch=partial(watch, setting, ds, target))
    collected = Collected.load(folder.checkpoints / "samples", columns)
    rows = scores(collected, ds)
    write_scores(folder.path / "scores.csv", rows)
    write_samples(folder.path / "samples", collected, ds)
    summary = summarised(config, result, rows) | about
    write_json(folder.path / "summary.json", summary)
    publish(folder, board, summary, rows, text)


def chosen_attack(config: AttackConfig) -> Attack | Fittable:
    """Build the attack, or the options of one that is fitted; flags must be options it has.

    Raises:
        ValueError: for options that are impossible, or an attack that lacks its target.
    """
    flags = config.attacking
    named = {"norm": flags.norm, "eps": flags.eps, "steps": flags.steps}
    norm = flags.norm or "linf"
    weak = usual(config, eps=budget(config.source.data, norm), norm=norm)
    strong = {name: value for name, value in named.items() if value is not None}
    make = build_fittable if is_fittable(flags.attack) else build_attack
    attack = make(flags.attack, weak=weak, strong=strong)
    if getattr(attack, "needs_target", False) and flags.target is None:
        raise ValueError(f"the attack {flags.attack} needs a class to reach; give --target CLASS")
    return attack


def class_number(text: str | None, ds: Dataset) -> int | None:
    """Return the class of a number or a name.

    Raises:
        ValueError: when there is no such class.
    """
    if text is None:
        return None
    names = [name.lower() for name in ds.classes]
    if text.lower() in names:
        return names.index(text.lower())
    if text.isdecimal() and (not names or int(text) < len(names)):
        return int(text)
    near = [name for name in ds.classes if text.lower() in name.lower()][:5] or ds.classes[:5]
    raise ValueError(
        f"--target is {text!r}; allowed: a class number below {len(names)}, or a name such as "
        + ", ".join(near)
    )


def watch(
    setting: Setting, ds: Dataset, target: int | None, number: int, batch: AttackedBatch
) -> None:
    """Keep a batch's samples, and draw the first batch."""
    folder = setting.folder.checkpoints / "samples"
    keep_batch(folder, setting.model, number, batch, target=target)
    if number == 0:
        draw_batch(setting.folder.figures / "attack", setting.model, batch, ds.classes)


def summarised(
    config: AttackConfig, result: AttackMeasurement, rows: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return summary.json; what is undefined is null.

    `success` is a share of all samples, and one that was wrong before the attack succeeds as it
    is; `success_of_right` is the share of the `right_before` samples that were not.
    """
    names = ("clean_accuracy", "robust_accuracy", "median_l2", "delta_l1", "delta_sparsity")
    numbers = {name: finite(getattr(result, name)) for name in (*names, "loss", "queries")}
    return {
        "job": "attack",
        "attack": config.attacking.attack,
        "samples": len(rows),
        "success": share(rows, "success"),
        "success_as_png": share(rows, "success_as_png"),
        "right_before": round(result.clean_accuracy * result.samples),
        "success_of_right": finite(result.success),
        "top_class_changed": share(rows, "changed"),
        "top_sum_after": {
            "mean": sum(row["top_sum_after"] for row in rows) / len(rows),
            "largest": max(row["top_sum_after"] for row in rows),
        },
        **numbers,
        "seconds": result.seconds,
        "warnings": result.warnings,
    }


def share(rows: list[dict[str, Any]], name: str) -> float:
    """Return the share of rows in which something holds."""
    return sum(bool(row[name]) for row in rows) / len(rows)


def publish(
    folder: RunFolder,
    board: Board,
    summary: dict[str, Any],
    rows: list[dict[str, Any]],
    config: str,
) -> None:
    """Show the outcome: TensorBoard, report, terminal."""
    values = {f"attack/{name}": v for name, v in summary.items() if isinstance(v, float)}
    folder.metrics.add("attack", step=0, values=values)
    pictures = [file for kind in PICTURES if (file := folder.figures / f"attack-{kind}").exists()]
    for picture in pictures:
        board.picture(picture.stem, picture, step=0)
    board.close()
    cells = [{name: show(row[name]) for name in COLUMNS} for row in rows[:SHOWN]]
    found = pre(attack_lines(summary))
    write_page(folder, [found, *map(image, pictures), table(cells)], config=config)
    log.info("%s", outcome(folder))


def show(value: Any) -> str:
    """Return a table cell."""
    return f"{value:.4f}" if isinstance(value, float) else str(value)
