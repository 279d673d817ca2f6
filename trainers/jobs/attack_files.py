"""Files of the job `attack`: scores.csv, a file for each sample, one npz, the generators."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from attacks import Architecture, Attack, save_generators
from attacks.attack import Norm
from attacks.common.goal import Goal
from attacks.files import write_bytes
from augment import Dataset
from augment.datasets.videos.write import write_video
from trainers.evaluate.budgets import budget_of
from trainers.evaluate.byte_rounding import round_to_bytes
from trainers.evaluate.evaluation import AttackedBatch, predict, score_batch
from trainers.evaluate.measure_resumable import item_file
from trainers.evaluate.scores import OWN
from trainers.jobs.naming import shorten_name
from trainers.run.folder.atomic import write_text
from trainers.run.folder.checkpoint import load_item, save_item
from trainers.run.show.images import to_image, write_png

SaveAs = Literal["bytes", "float"]
TOP = 5  # classes whose scores are kept
NAMES = ("target", "fooled_by")  # numbers that an attack reports and that stand for names
GENERATOR = "generator"  # the column with each sample's network, of the attack that learns them
ANSWERS = ("y", "before_classes", "after_classes")
SIZES = ("top_sum_before", "top_sum_after", "loss", "linf", "l2", "l1")
STORED = ("linf", "l2", "l1", "delta_l1", "delta_sparsity")  # of what is saved
SUFFIX = re.compile(r"\.[A-Za-z]\w{1,4}$")  # of a file that a sample came from


def prepare_for_saving(
    model: nn.Module, batch: AttackedBatch, attack: Attack, *, save_as: SaveAs
) -> AttackedBatch:
    """Return a batch as it is to be saved: its samples in bytes that fool, or as they are."""
    if save_as == "float":
        return batch
    budget, goal = budget_of(attack), Goal(batch.y, batch.target)
    if budget is None or budget.eps is None:
        result = round_to_bytes(model, batch.result, goal)
    else:
        norm, eps = cast(Norm, budget.norm), batch.result.x.new_tensor(budget.eps)
        result = round_to_bytes(model, batch.result, goal, norm=norm, eps=eps)
    return replace(batch, result=result)


def save_batch(
    folder: Path, model: nn.Module, number: int, found: AttackedBatch, batch: AttackedBatch
) -> Path:
    """Save a batch's samples, and what the classifier says before, after, and after rounding.

    Args:
        folder: where to.
        model: the classifier.
        number: of the batch.
        found: the batch as the attack returned it.
        batch: the batch as it is to be saved, see `prepare_for_saving`.

    Returns:
        The file.
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
    def load(cls, files: Sequence[Path], measured: dict[str, Tensor]) -> Collected:
        """Join batches with the measured columns, of which they replace the sizes."""
        loaded = [load_item(file) for file in files]
        parts, shape = [tensors for tensors, _ in loaded], loaded[0][1]
        joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}  # (N, ...)
        return cls(measured | joined, Architecture(**shape) if shape else None)

    @property
    def scored(self) -> dict[str, Tensor]:
        """The columns of the samples as they are saved, for `summarise`."""
        return self.columns | {"fooled": self.columns["success"]}


def score_rows(collected: Collected, ds: Dataset) -> list[dict[str, Any]]:
    """Return one row a sample: answers and scores before and after, sizes of the change.

    What the attack alone reports of a sample comes last, see `format_reported`.
    """
    c = collected.columns
    own = {name.removeprefix(OWN): c[name] for name in c if name.startswith(OWN)}

    def name(number: int) -> str:
        return ds.classes[number] if number < len(ds.classes) else str(number)

    rows = []
    for i, source in enumerate(ds.ids):
        label, before, after = (int(c[key].reshape(len(ds), -1)[i, 0]) for key in ANSWERS)
        before_score, after_score = (float(c[f"{w}_scores"][i, 0]) for w in ("before", "after"))
        row = {
            "id": source,
            "label": name(label),
            "before": name(before),
            "before_score": before_score,
            "after": name(after),
            "after_score": after_score,
            "changed": before != after and isfinite(before_score + after_score),
            "attackable": bool(c["attackable"][i]),
            "success": bool(c["success"][i]),
            "success_as_png": bool(c["success_as_png"][i]),
            **{key: float(c[key][i]) for key in SIZES},
            "mean_abs": float(c["l1"][i]) / c["x_adv"][i].numel(),
            "queries": int(c["queries"][i]),
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


def summarise_reported(collected: Collected) -> dict[str, dict[str, float]]:
    """Return median and mean, over the fooled samples, of what the attack alone reports of each.

    Of a choice, such as frames, the size counts; names of classes and of attacks have no mean.
    """
    c = collected.columns
    fooled = c["success"] & c["attackable"]
    found = {}
    for name, column in c.items():
        key, chosen = name.removeprefix(OWN), column.dtype == torch.bool
        if key == name or key in NAMES or (column.ndim > 1 and not chosen):
            continue
        values = (column.flatten(1).sum(1) if column.ndim > 1 else column)[fooled].double()
        values = values[torch.isfinite(values)]
        if len(values):
            median, mean = float(values.quantile(0.5)), float(values.mean())
            found[key] = {"median": median, "mean": mean, "n": len(values)}
    return found


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
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
    """Write the perturbed samples: a file each, rounded to bytes, and all as float32 in one npz.

    A file is named after the sample's number, which no other has, and its source.
    """
    c = collected.columns
    for i, source in enumerate(ds.ids):
        stem = re.sub(r"[^\w.-]+", "_", SUFFIX.sub("", source))
        write_sample(folder, shorten_name(f"{i:05}-{stem}"), c["x_adv"][i])
    x_adv, y, success = (c[name].numpy() for name in ("x_adv", "y", "success"))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, ids=np.array(ds.ids), x_adv=x_adv, y=y, success=success)
    write_bytes(folder.with_name("samples.npz"), buffer.getvalue())
    if collected.architecture is not None:
        file = folder.with_name("generators.safetensors")
        save_generators(file, c[GENERATOR], architecture=collected.architecture)
