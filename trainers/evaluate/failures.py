"""The worst failures: samples that an attack fooled, with the surest wrong answers to them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from attacks import Attack
from augment import Dataset
from trainers.evaluate.budgets import budget_of
from trainers.evaluate.evaluation import AttackedBatch, predict
from trainers.evaluate.measure_resumable import AttackTask, item_file
from trainers.evaluate.per_class import class_name
from trainers.evaluate.scores import Columns, finite_or_none, join_columns
from trainers.run.folder.checkpoint import load_item, save_item
from trainers.run.show.figures.change import draw_change
from trainers.run.show.images import write_png

KEPT = 6  # failures that are shown
TOP = 5  # classes whose probabilities are told
NAME = "failure"  # begins the names of their pictures


def keep_failures(
    model: nn.Module, task: AttackTask, number: int, batch: AttackedBatch
) -> list[Path]:
    """Keep the worst failures of a batch, for `worst_failures`.

    Args:
        model: the classifier, which is asked for its probabilities.
        task: whose batch it is.
        number: of the batch.
        batch: the batch.

    Returns:
        The file.
    """
    result = batch.result
    after = predict(model, result.x_adv).softmax(1)  # (B, K)
    severity = rank_failures(task.attack, after.amax(1), result.l2)
    rows = choose_failures(batch.attackable & result.success, severity)
    after = after[rows]
    # Not every model takes an empty batch.
    before = predict(model, result.x[rows]).softmax(1) if len(rows) else after
    tensors = {
        "index": batch.index.to(rows.device)[rows],
        "severity": severity[rows],
        "x": result.x[rows],
        "x_adv": result.x_adv[rows],
        "linf": result.linf[rows],
        "l2": result.l2[rows],
        **top_scores("before", before),
        **top_scores("after", after),
    }
    save_item(file := kept_folder(task) / item_file(number), tensors)
    return [file]


def worst_failures(task: AttackTask, figures: Path, *, root: Path) -> list[dict[str, Any]]:
    """Draw the worst failures of an attack, and say what there is to say of each.

    Args:
        task: all of whose batches `keep_failures` has seen.
        figures: the folder of their pictures.
        root: the run folder.

    Returns:
        As of `describe_failures`; none of an attack that fooled no sample.
    """
    parts = [load_item(file)[0] for file in sorted(kept_folder(task).glob("*.safetensors"))]
    if not parts:
        return []
    found = join_columns(parts)
    best = found["severity"].argsort(descending=True, stable=True)[:KEPT]
    chosen = {name: column[best] for name, column in found.items()}
    return describe_failures(chosen, task.ds, figures, root=root)


def describe_failures(
    found: Columns, ds: Dataset, figures: Path, *, root: Path
) -> list[dict[str, Any]]:
    """Write a picture of each failure, and say what there is to say of it.

    Args:
        found: index, x, x_adv, linf, l2, and the classes and scores of `top_scores`, (N, ...) each.
        ds: the samples that were attacked.
        figures: where the pictures go.
        root: the run folder, which their names are relative to.

    Returns:
        Of each id, label, linf, l2, the top classes before and after with their probabilities,
        the factor of the difference, and its picture.
    """
    told = []
    for i, row in enumerate(found["index"].tolist()):
        picture, factor = draw_change(found["x"][i], found["x_adv"][i])
        write_png(file := figures / f"{NAME}-{i + 1}.png", picture)
        told.append(
            {
                "id": ds.ids[row],
                "label": true_class(ds, row),
                "linf": float(found["linf"][i]),
                "l2": float(found["l2"][i]),
                "before": named_classes(found, "before", i, ds.classes),
                "after": named_classes(found, "after", i, ds.classes),
                "factor": factor,
                "picture": str(file.relative_to(root)),
            }
        )
    return told


def true_class(ds: Dataset, row: int) -> str | None:
    """Return the class of a sample; None where the data has no labels."""
    label = int(ds.labels[row])
    return class_name(ds.classes, label) if label >= 0 else None


def drawn_failures(figures: Path) -> list[Path]:
    """Return the pictures that `describe_failures` has made in a folder."""
    return sorted(figures.glob(f"{NAME}-*.png"))


def rank_failures(attack: Attack, confidence: Tensor, l2: Tensor) -> Tensor:
    """Return how bad failures are, (N,): of an attack without a budget the smallest change counts.

    Args:
        attack: what fooled.
        confidence: probability of the wrong answer, (N,).
        l2: length of the change, (N,).
    """
    budget = budget_of(attack)
    return -l2 if budget is None or budget.eps is None else confidence


def choose_failures(fooled: Tensor, severity: Tensor) -> Tensor:
    """Return the rows of the worst failures, the worst first.

    Args:
        fooled: (N,) bool.
        severity: (N,), as of `rank_failures`.
    """
    rows = fooled.nonzero().flatten()
    return rows[severity[rows].argsort(descending=True, stable=True)[:KEPT]]


def top_scores(name: str, probabilities: Tensor) -> Columns:
    """Return the classes with the largest of probabilities (N, K), and these, (N, TOP) each."""
    top = probabilities.topk(min(TOP, probabilities.shape[1]))
    return {f"{name}_classes": top.indices, f"{name}_scores": top.values}


def named_classes(
    found: Columns, name: str, row: int, classes: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the top classes of a row with their probabilities, ready for JSON.

    >>> import torch
    >>> named_classes(top_scores("after", torch.tensor([[0.25, 0.75]])), "after", 0, ["cat", "dog"])
    [{'class': 'dog', 'probability': 0.75}, {'class': 'cat', 'probability': 0.25}]
    """
    numbers, scores = (found[f"{name}_{kind}"][row].tolist() for kind in ("classes", "scores"))
    return [
        {"class": class_name(classes, number), "probability": finite_or_none(score)}
        for number, score in zip(numbers, scores, strict=True)
    ]


def kept_folder(task: AttackTask) -> Path:
    """Return where `keep_failures` keeps those of a task, beside its items."""
    return task.items.with_name(f"{task.items.name}-failures")
