"""Files of the job `attack`: scores.csv, a file for each sample, one npz, the generators."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from math import isfinite
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from attacks import Architecture, save_generators
from attacks.common.goal import Goal
from attacks.files import write_bytes
from attacks.universal.fitting import take_prefix
from augment import Dataset
from augment.datasets.videos.write import write_video
from trainers.evaluate.budgets import budget_of
from trainers.evaluate.byte_rounding import round_to_bytes
from trainers.evaluate.evaluation import OWN, AttackedBatch, predict, score_batch
from trainers.evaluate.measure_resumable import AttackTask, item_file
from trainers.evaluate.scores import Columns
from trainers.jobs.batch_figures import draw_batch
from trainers.jobs.naming import shorten_name
from trainers.run.folder.atomic import write_text
from trainers.run.folder.checkpoint import save_item
from trainers.run.job_context import JobContext
from trainers.run.show.images import to_image, write_png

SaveAs = Literal["bytes", "float"]
TOP = 5  # classes whose scores are kept
NAMES = ("target", "fooled_by")  # numbers that an attack reports and that stand for names
GENERATOR = "generator"  # the column with each sample's network, of the attack that learns them
ANSWERS = ("y", "before_classes", "after_classes")
SIZES = ("top_sum_before", "top_sum_after", "loss", "linf", "l2", "l1")
STORED = ("linf", "l2", "l1", "delta_l1", "delta_sparsity")  # of what is saved
SUFFIX = re.compile(r"\.[A-Za-z]\w{1,4}$")  # of a file that a sample came from


def save_and_draw(
    context: JobContext, task: AttackTask, save_as: SaveAs, number: int, batch: AttackedBatch
) -> list[Path]:
    """Keep a batch's samples, in bytes that fool or as they are; draw the first batch.

    Returns:
        The files.
    """
    model, saved = context.model, batch
    if save_as == "bytes":
        goal, budget = Goal(batch.y, batch.target), budget_of(task.attack)
        rounded = round_to_bytes(model, batch.result, goal, budget)
        saved = replace(batch, result=rounded, after=None, confidences=None)
    file = context.folder.checkpoints / "samples" / item_file(number)
    save_batch(file, model, batch, saved)
    if number:
        return [file]
    return [file, *draw_batch(context.folder.figures / "attack", model, saved, task.ds.classes)]


def save_batch(file: Path, model: nn.Module, found: AttackedBatch, batch: AttackedBatch) -> None:
    """Save a batch's samples, and what the classifier says before, after, and after rounding.

    Args:
        file: where to.
        model: the classifier.
        found: the batch as the attack returned it.
        batch: the batch as it is to be saved.
    """
    result, scored, goal = batch.result, score_batch(batch), Goal(batch.y, batch.target)
    before = predict(model, result.x).softmax(1)  # (B, K)
    after = predict(model, result.x_adv).softmax(1)
    rounded, plain = (
        predict(model, (x * 255).round() / 255) for x in (result.x_adv, found.result.x_adv)
    )
    k = min(TOP, before.shape[1] - 1)
    tensors = {
        "x_adv": result.x_adv,
        "y": batch.y,
        "success": result.success,
        **{name: scored[name] for name in STORED},
        "success_as_png": goal.is_adversarial(rounded),
        "success_rounded": goal.is_adversarial(plain),
        "top_sum_before": before.topk(k).values.sum(1),
        "top_sum_after": after.gather(1, before.topk(k).indices).sum(1),
    }
    for name, scores in (("before", before), ("after", after)):
        top = scores.topk(min(TOP, scores.shape[1]))
        tensors |= {f"{name}_classes": top.indices, f"{name}_scores": top.values}
    note = None
    if "architecture" in result.info:
        tensors[GENERATOR], note = result.info["weights"], asdict(result.info["architecture"])
    save_item(file, tensors, note)


def write_files(
    folder: Path, columns: Columns, ds: Dataset, *, shape: dict[str, Any] | None
) -> list[dict[str, Any]]:
    """Write the scores, the perturbed samples, and the generators where the attack learned them.

    Args:
        folder: where to.
        columns: what was measured of each sample, and what `save_batch` kept.
        ds: the samples.
        shape: of the generators, as `save_batch` noted it; None for no generators.

    Returns:
        The rows of scores.csv, see `score_rows`.
    """
    rows = score_rows(columns, ds)
    write_csv(folder / "scores.csv", rows)
    write_samples(folder / "samples", columns, ds)
    if shape:
        file, architecture = folder / "generators.safetensors", Architecture(**shape)
        save_generators(file, columns[GENERATOR], architecture=architecture)
    return rows


def score_rows(columns: Columns, ds: Dataset) -> list[dict[str, Any]]:
    """Return one row a sample: answers and scores before and after, sizes of the change.

    What the attack alone reports of a sample comes last, see `format_reported`.
    """
    own = take_prefix(OWN, columns)

    def name(number: int) -> str:
        return ds.classes[number] if number < len(ds.classes) else str(number)

    rows = []
    for i, source in enumerate(ds.ids):
        label, before, after = (int(columns[key].reshape(len(ds), -1)[i, 0]) for key in ANSWERS)
        scores = (columns["before_scores"], columns["after_scores"])
        before_score, after_score = (float(score[i, 0]) for score in scores)
        row = {
            "id": source,
            "label": name(label),
            "before": name(before),
            "before_score": before_score,
            "after": name(after),
            "after_score": after_score,
            "changed": before != after and isfinite(before_score + after_score),
            "attackable": bool(columns["attackable"][i]),
            "success": bool(columns["success"][i]),
            "success_as_png": bool(columns["success_as_png"][i]),
            **{key: float(columns[key][i]) for key in SIZES},
            "mean_abs": float(columns["l1"][i]) / columns["x_adv"][i].numel(),
            "queries": int(columns["queries"][i]),
        }
        rows.append(row | {key: format_reported(own[key][i]) for key in own if key not in row})
    return rows


def format_reported(value: Tensor) -> bool | int | float | str:
    """Return a number, or several as text; of truths, such as a choice of frames, those that hold.

    >>> format_reported(torch.tensor(3)), format_reported(torch.tensor([True, False, True]))
    (3, '0 2')
    """
    if value.ndim == 0:
        one: bool | int | float = value.item()
        return one
    numbers = value.nonzero().flatten().tolist() if value.dtype == torch.bool else value.tolist()
    return " ".join(f"{one:g}" for one in numbers)


def summarise_reported(columns: Columns) -> dict[str, dict[str, float]]:
    """Return median and mean, over the fooled samples, of what the attack alone reports of each.

    Of a choice, such as frames, the size counts; names of classes and of attacks have no mean.
    """
    fooled = columns["success"] & columns["attackable"]
    found = {}
    for key, column in take_prefix(OWN, columns).items():
        if key in NAMES or (column.ndim > 1 and column.dtype != torch.bool):
            continue
        values = (column.flatten(1).sum(1) if column.ndim > 1 else column)[fooled].double()
        values = values[torch.isfinite(values)]
        if len(values):
            median, mean = float(values.quantile(0.5)), float(values.mean())
            found[key] = {"median": median, "mean": mean, "n": len(values)}
    return found


def write_csv(path: Path, rows: Sequence[dict[str, Any]], *, columns: Sequence[str] = ()) -> None:
    """Write rows with the same keys as CSV; `columns` are the headings where there is no row."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else columns)
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue(), errors="backslashreplace")  # any file name


def write_sample(folder: Path, name: str, x: Tensor) -> None:
    """Write a sample (C, H, W) or (C, T, H, W) in [0, 1], rounded to bytes.

    An image is a PNG; a clip is a lossless mkv, and in the folder `gifs` a GIF to look at.
    """
    if x.ndim == 3:
        write_png(folder / f"{name}.png", to_image(x))
        return
    write_video(folder / f"{name}.mkv", x)
    write_video(folder.with_name("gifs") / f"{name}.gif", x)


def write_samples(folder: Path, columns: Columns, ds: Dataset) -> None:
    """Write the perturbed samples: a file each, rounded to bytes, and all as float32 in one npz.

    A file is named after the sample's number, which no other has, and its source.
    """
    for i, source in enumerate(ds.ids):
        stem = re.sub(r"[^\w.-]+", "_", SUFFIX.sub("", source))
        write_sample(folder, shorten_name(f"{i:05}-{stem}"), columns["x_adv"][i])
    x_adv, y, success = (columns[name].numpy() for name in ("x_adv", "y", "success"))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, ids=np.array(ds.ids), x_adv=x_adv, y=y, success=success)
    write_bytes(folder.with_name("samples.npz"), buffer.getvalue())
