"""What the job `attack` leaves behind: scores.csv, a file a sample, one npz, the generators."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from attacks import Architecture, save_generators
from attacks.atomic import write_bytes
from attacks.goal import Goal
from augment import Dataset
from augment.videos import write_video
from trainers.evaluation import AttackedBatch, predict
from trainers.measure import item_file
from trainers.run.atomic import write_text
from trainers.run.checkpoint import load_item, save_item
from trainers.run.figures import to_image, write_png

TOP = 5  # classes whose scores are kept
GENERATOR = "generator"  # the column with each sample's network, of the attack that learns them
ANSWERS = ("y", "before_classes", "after_classes")
SIZES = ("top_sum_before", "top_sum_after", "loss", "linf", "l2", "l1")


def keep_batch(
    folder: Path, model: nn.Module, number: int, batch: AttackedBatch, *, target: int | None
) -> Path:
    """Save a batch's samples, and what the classifier says before, after, and after rounding.

    Returns:
        The file.
    """
    result = batch.result
    before = predict(model, result.x).softmax(1)  # (B, K)
    after = predict(model, result.x_adv).softmax(1)
    rounded = predict(model, (result.x_adv * 255).round() / 255)
    goal = Goal(batch.y, None if target is None else torch.full_like(batch.y, target))
    k = min(TOP, before.shape[1] - 1)
    tensors = {
        "x_adv": result.x_adv,
        "y": batch.y,
        "success": result.success,
        "linf": result.linf,
        "l1": result.l1,
        "success_as_png": goal.met(rounded),
        "top_sum_before": before.topk(k).values.sum(1),
        "top_sum_after": after.gather(1, before.topk(k).indices).sum(1),
    }
    for name, scores in (("before", before), ("after", after)):
        top = scores.topk(min(TOP, scores.shape[1]))
        tensors |= {f"{name}_classes": top.indices, f"{name}_scores": top.values}
    architecture = result.info.get("architecture")
    if architecture is not None:
        tensors[GENERATOR] = result.info["weights"]
    note = asdict(architecture) if architecture is not None else None
    file = folder / item_file(number)
    save_item(file, tensors, note)
    return file


@dataclass(frozen=True)
class Collected:
    """Everything kept of all batches, one row a sample; the generators' shape, if there are any."""

    columns: dict[str, Tensor]
    architecture: Architecture | None

    @classmethod
    def load(cls, folder: Path, batches: int, measured: dict[str, Tensor]) -> Collected:
        """Join so many batches of a folder with the measured columns."""
        loaded = [load_item(folder / item_file(number)) for number in range(batches)]
        parts, shape = [tensors for tensors, _ in loaded], loaded[0][1]
        joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}  # (N, ...)
        columns = joined | {name: measured[name] for name in ("loss", "l2", "queries")}
        return cls(columns, Architecture(**shape) if shape else None)


def scores(collected: Collected, ds: Dataset) -> list[dict[str, Any]]:
    """Return one row a sample: answers and scores before and after, sizes of the change."""
    c = collected.columns

    def name(number: int) -> str:
        return ds.classes[number] if number < len(ds.classes) else str(number)

    rows = []
    for i, source in enumerate(ds.ids):
        label, before, after = (int(c[key].reshape(len(ds), -1)[i, 0]) for key in ANSWERS)
        rows.append(
            {
                "id": source,
                "label": name(label),
                "before": name(before),
                "before_score": float(c["before_scores"][i, 0]),
                "after": name(after),
                "after_score": float(c["after_scores"][i, 0]),
                "changed": before != after,
                "success": bool(c["success"][i]),
                "success_as_png": bool(c["success_as_png"][i]),
                **{key: float(c[key][i]) for key in SIZES},
                "mean_abs": float(c["l1"][i]) / c["x_adv"][i].numel(),
                "queries": int(c["queries"][i]),
            }
        )
    return rows


def write_scores(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows with the same keys as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
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


def write_samples(folder: Path, collected: Collected, ds: Dataset) -> None:
    """Write the perturbed samples: a file each, rounded to bytes, and all as float32 in one npz."""
    c = collected.columns
    for i, source in enumerate(ds.ids):
        write_sample(folder, f"{i:05}-" + re.sub(r"[^\w.-]+", "_", source), c["x_adv"][i])
    x_adv, y, success = (c[name].numpy() for name in ("x_adv", "y", "success"))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, ids=np.array(ds.ids), x_adv=x_adv, y=y, success=success)
    write_bytes(folder.with_name("samples.npz"), buffer.getvalue())
    if collected.architecture is not None:
        file = folder.with_name("generators.safetensors")
        save_generators(file, c[GENERATOR], architecture=collected.architecture)
