"""The answers behind an evaluation: of which class, taken for which, and how sure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainers.evaluate.calibration import measure_calibration
from trainers.evaluate.per_class import (
    class_name,
    class_table,
    confused_pairs,
    confusion_matrix,
    suffering_classes,
)
from trainers.evaluate.robustness import WorstCase
from trainers.evaluate.scores import AttackMeasurement, Columns
from trainers.run.show.figures.evaluation import confusion_chart, reliability_chart
from trainers.run.show.plots import write_chart

MOST = 100  # classes of which summary.json has whole confusion matrices
SHOWN = 25  # classes in the figure: of more, those that are confused most
Results = Mapping[str, AttackMeasurement]
Row = Mapping[str, Any]


def summarise_answers(
    results: Results, names: Sequence[str], case: WorstCase | None
) -> dict[str, Any]:
    """Return what summary.json says of a classifier's answers, clean and under attack.

    Args:
        results: of attacks on the same samples, by name.
        names: of the classes.
        case: the worst case that leads; None where no attack has a budget.
    """
    first = next(iter(results.values()))
    label, strongest = first.columns["label"], strongest_attack(results, case)
    survived = results[strongest].survived if case is None else case.survived
    classes = first.classes or int(label.max()) + 1

    def matrix(answer: Tensor, _: Tensor) -> list[list[int]]:
        found: list[list[int]] = confusion_matrix(label, answer, classes).tolist()
        return found

    def calibration(answer: Tensor, confidence: Tensor) -> dict[str, Any] | None:
        found = measure_calibration(confidence, answer == label)
        return None if found is None else asdict(found)

    every = {"names": [class_name(names, number) for number in range(classes)]}
    return {
        "strongest": strongest,
        "classes": class_table(results, names, worst=None if case is None else case.survived),
        "suffer_most": suffering_classes(first.clean, survived, label, names),
        "confusion": every | for_each(results, matrix) if classes <= MOST else None,
        "confused": for_each(results, lambda answer, _: confused_pairs(label, answer, names)),
        "calibration": for_each(results, calibration),
    }


def for_each(results: Results, compute: Callable[[Tensor, Tensor], Any]) -> dict[str, Any]:
    """Return what a function makes of answers and confidences, clean and under each attack."""
    first = next(iter(results.values())).columns
    return {
        "clean": compute(first["before"], first["confidence"]),
        "attacks": {
            name: compute(m.columns["after"], m.columns["confidence_after"])
            for name, m in results.items()
        },
    }


def strongest_attack(results: Results, case: WorstCase | None) -> str:
    """Return the attack under which fewest samples are right, of those held to the worst case's."""
    held = case and [name for name in case.attacks if results[name].budget == case.budget]
    names = held or list(results)
    return min(names, key=lambda name: results[name].robust_accuracy)


def draw_answers(figures: Path, results: Results, summary: Row, names: Sequence[str]) -> None:
    """Write confusion.png and reliability.png: clean, beside under the strongest attack.

    Args:
        figures: the folder.
        results: of the attacks, by name.
        summary: of `summarise_answers`.
        names: of the classes.
    """
    attack, calibration = summary["strongest"], summary["calibration"]
    columns = results[attack].columns
    classes = results[attack].classes or int(columns["label"].max()) + 1
    shown = most_confused(columns, classes)
    clean, attacked = (
        confusion_matrix(columns["label"], columns[name], classes)[shown][:, shown].tolist()
        for name in ("before", "after")
    )
    known = [class_name(names, number) for number in shown.tolist()]
    chart = confusion_chart(clean, attacked, known, attack)
    write_chart(figures / "confusion.png", chart)
    charts = {"Clean": calibration["clean"], f"Under {attack}": calibration["attacks"][attack]}
    charts = {heading: one for heading, one in charts.items() if one is not None}
    if charts:
        write_chart(figures / "reliability.png", reliability_chart(charts))


def most_confused(columns: Columns, classes: int) -> Tensor:
    """Return the numbers of up to `SHOWN` classes that errors under attack lie most in, rising."""
    label, answer = columns["label"], columns["after"]
    wrong = (label != answer) & (answer >= 0)
    errors = sum(torch.bincount(part[wrong], minlength=classes) for part in (label, answer))
    assert isinstance(errors, Tensor)
    return errors.argsort(descending=True, stable=True)[:SHOWN].sort().values
