"""The job `attack`: perturb samples, and save them with scores and pictures."""

import logging
from functools import partial
from math import isfinite
from typing import Any

import torch

from attacks import Attack
from attacks.common.randomness import derive_seed
from attacks.universal.fitting import Fittable
from augment import Dataset
from trainers.evaluate.failures import choose_failures, describe_failures, rank_failures
from trainers.evaluate.measure_resumable import AttackTask, load_batches, measure_resumable
from trainers.evaluate.scores import (
    AttackMeasurement,
    Columns,
    finite_or_none,
    median_or_none,
    summarise,
)
from trainers.fit.fit_or_load import load_or_fit_classifier
from trainers.intervals import wilson
from trainers.jobs.attack_files import SaveAs, save_and_draw, summarise_reported, write_files
from trainers.jobs.batch_figures import drawn_pictures
from trainers.jobs.fitted_attack import fit_if_needed, with_target
from trainers.run.cli.config import AttackConfig
from trainers.run.cli.presets import budget
from trainers.run.cli.specs.attacks import (
    attack_defaults,
    build_attack,
    build_fittable,
    is_fittable,
)
from trainers.run.cli.toml import dump
from trainers.run.folder.atomic import write_summary
from trainers.run.folder.folder import RunFolder
from trainers.run.job_context import check_attacks, load_split
from trainers.run.show.outcome import outcome
from trainers.run.show.outcomes.attack import attack_lines
from trainers.run.show.report import write_report
from trainers.run.show.tensorboard_writer import TensorBoardWriter

log = logging.getLogger(__name__)
TOLERANCE = 1e-6  # of a length, by which a rounded sample counts as within its budget


def run_attack(config: AttackConfig, folder: RunFolder) -> None:
    """Attack a split, batch by batch, then write what was found."""
    attack, name = choose_attack(config), config.attacking.attack.partition(":")[0]
    ds = load_split(config, config.attacking.split, folder)
    target = class_number(config.attacking.target, ds)
    attack = with_target(attack, target)
    check_attacks({name: attack}, ds, target=target)
    context = load_or_fit_classifier(config, folder, ds)
    text = dump(folder.job, config)
    board = TensorBoardWriter(folder.path / "tensorboard", folder.metrics, text)
    attack, about = fit_if_needed(context, name, attack)
    items, seed = folder.checkpoints / "attack", derive_seed(context.seed, "attack")
    task = AttackTask(config.attacking.attack, attack, ds, items, seed, target)
    watching = partial(save_and_draw, context, task, config.attacking.save_as)
    result, found = measure_resumable(context, task, watch=watching)
    saved, shapes = load_batches(folder.checkpoints / "samples", context, ds)
    columns = found | saved  # sizes and success are those of what is saved
    rows = write_files(folder.path, columns, ds, shape=shapes[0])
    named = None if target is None else (ds.classes[target] if ds.classes else str(target))
    summary = make_summary(config, result, columns, rows, target=named) | about
    summary["failures"] = draw_failures(task, columns, folder)
    write_summary(folder.path / "summary.json", summary)
    publish(folder, board, summary)


def choose_attack(config: AttackConfig) -> Attack | Fittable:
    """Build the attack, or the options of one that is fitted; flags must be options it has.

    Raises:
        ValueError: for options that are impossible, or an attack that lacks its target.
    """
    flags = config.attacking
    named = {"norm": flags.norm, "eps": flags.eps, "steps": flags.steps}
    norm = flags.norm or "linf"
    defaults = attack_defaults(config, eps=budget(config.source.data, norm), norm=norm)
    overrides = {name: value for name, value in named.items() if value is not None}
    make = build_fittable if is_fittable(flags.attack) else build_attack
    attack = make(flags.attack, defaults=defaults, overrides=overrides)
    if getattr(attack, "needs_target", False) and flags.target is None:
        raise ValueError(f"the attack {flags.attack} needs a class to reach; give --target CLASS")
    return attack


def class_number(text: str | None, ds: Dataset, *, flag: str = "--target") -> int | None:
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
        f"{flag} is {text!r}; allowed: a class number below {len(names)}, or a name such as "
        + ", ".join(near)
    )


def make_summary(
    config: AttackConfig,
    result: AttackMeasurement,
    columns: Columns,
    rows: list[dict[str, Any]],
    *,
    target: str | None,
) -> dict[str, Any]:
    """Return summary.json; what is undefined is null.

    All but `saved` is of the samples as they are saved. `success` is the share fooled of the
    `attackable` samples; means are over the `fooled` ones.
    """
    m = summarise([columns | {"fooled": columns["success"]}])
    names = ("success", "robust_accuracy", "median_l2", "delta_l1", "delta_sparsity")
    numbers = {name: finite_or_none(getattr(m, name)) for name in (*names, "loss", "queries")}
    fallen = columns["attackable"] & columns["success"]
    return {
        "job": "attack",
        "attack": config.attacking.attack,
        "budget": None if result.budget is None else str(result.budget),
        "target": target,
        "samples": m.samples,
        "attackable": m.attackable,
        "fooled": m.fooled,
        **numbers,
        "success_interval": m.success_interval,
        "saved": survival(config.attacking.save_as, result, columns),
        "right_before": round(m.clean_accuracy * m.samples),
        "clean_accuracy": m.clean_accuracy,
        "clean_accuracy_interval": m.clean_accuracy_interval,
        "top_class_changed": sum(row["changed"] for row in rows) / len(rows),
        "top_sum_after": top_sums(rows),
        "norms": {name: median_or_none(size[fallen]) for name, size in m.sizes.items()},
        "reported": summarise_reported(columns),
        "seconds": result.seconds,
        "warnings": [*result.doubts, *result.warnings, *outside(result, columns)],
    }


def draw_failures(task: AttackTask, columns: Columns, folder: RunFolder) -> list[dict[str, Any]]:
    """Draw the samples that were right and fell, as they are saved; see `describe_failures`."""
    severity = rank_failures(task.attack, columns["after_scores"][:, 0], columns["l2"])
    rows = choose_failures(columns["attackable"] & columns["success"], severity)
    chosen = {name: column[rows] for name, column in columns.items()}
    x = task.ds.stack(rows.tolist())[0] if len(rows) else columns["x_adv"][rows]
    found = chosen | {"index": rows, "x": x}
    return describe_failures(found, task.ds, folder.figures, root=folder.path)


def top_sums(rows: list[dict[str, Any]]) -> dict[str, float | None]:
    """Return mean and largest of the scores left to the classes that led, of finite ones."""
    sums = [row["top_sum_after"] for row in rows if isfinite(row["top_sum_after"])]
    mean = sum(sums) / len(sums) if sums else None
    return {"mean": mean, "largest": max(sums, default=None)}


def survival(save_as: SaveAs, result: AttackMeasurement, columns: Columns) -> dict[str, Any]:
    """Return how many of the samples that the attack fooled still fool in bytes.

    `success_as_bytes` is the share of all attackable samples that do, `survive_share` that of
    the `found` ones.
    """
    found = columns["fooled"] & columns["attackable"]
    in_bytes = columns["success" if save_as == "bytes" else "success_as_png"]
    kept, lost = found & in_bytes, found & ~columns["success_rounded"]
    n, survive, all_bytes = int(found.sum()), int(kept.sum()), in_bytes & columns["attackable"]
    return {
        "as": save_as,
        "found": n,
        "rounding_lost": int(lost.sum()),
        "survive": survive,
        "survive_share": survive / n if n else None,
        "survive_interval": wilson(survive, n),
        "success_as_bytes": int(all_bytes.sum()) / result.attackable if result.attackable else None,
    }


def outside(result: AttackMeasurement, columns: Columns) -> list[str]:
    """Say how many saved samples no bytes keep within the attack's budget."""
    if result.budget is None or result.budget.eps is None:
        return []
    sizes = columns[result.budget.norm].double()
    beyond = int((sizes > torch.as_tensor(result.budget.eps).double() + TOLERANCE).sum())
    if not beyond:
        return []
    return [
        f"{beyond} of {result.samples} saved samples are farther from their originals than "
        f"{result.budget}, and count as not fooled: the originals lie between bytes, and the "
        "budget leaves no room for one; --save-as float keeps what the attack returned"
    ]


def publish(
    folder: RunFolder,
    board: TensorBoardWriter,
    summary: dict[str, Any],
) -> None:
    """Show the outcome: TensorBoard, report, terminal."""
    pictures = drawn_pictures(folder.figures / "attack")
    for picture in pictures:
        board.picture(f"attack/{picture.stem.removeprefix('attack-')}", picture, step=0)
    lines, warnings = attack_lines(summary), summary["warnings"]
    board.text("results", lines)
    board.close(summary)
    for warning in warnings:
        log.warning("%s", warning)
    write_report(folder.path)
    log.info("%s", outcome(folder))
