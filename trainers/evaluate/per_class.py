"""Accuracy by class, and what each class was taken for, clean and under attack."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from trainers.evaluate.scores import AttackMeasurement
from trainers.intervals import wilson

NAMED = 3  # classes that are named as those that suffer most, and pairs as most confused


def rate(successes: int, n: int) -> dict[str, Any]:
    """Return a rate with its 95 % interval and count, ready for JSON; None of nothing.

    >>> rate(0, 0)
    {'accuracy': None, 'interval': (0.0, 1.0), 'samples': 0}
    """
    share = successes / n if n else None
    return {"accuracy": share, "interval": wilson(successes, n), "samples": n}


def accuracy_by_class(right: Tensor, label: Tensor, classes: int) -> list[dict[str, Any]]:
    """Return the share of each class that is right, one `rate` for each of K classes.

    Args:
        right: (N,) bool.
        label: (N,) int64, from 0 to K - 1.
        classes: K.
    """
    samples = torch.bincount(label, minlength=classes).tolist()
    hits = torch.bincount(label[right], minlength=classes).tolist()
    return [rate(hit, n) for hit, n in zip(hits, samples, strict=True)]


def class_table(
    measurements: Mapping[str, AttackMeasurement],
    names: Sequence[str],
    *,
    worst: Tensor | None = None,
) -> list[dict[str, Any]]:
    """Return the accuracies of each class, clean, under each attack, and in the worst case.

    Args:
        measurements: of attacks on the same N samples, by name.
        names: of the K classes; a number stands for a missing one.
        worst: (N,) bool, who survived the worst case; None where there is none.

    Returns:
        A row for each class that has samples: class, samples, clean, attacks, worst_case; each
        accuracy is a `rate`.
    """
    first = next(iter(measurements.values()))
    label = first.columns["label"]
    classes = max(first.classes or 0, len(names), int(label.max()) + 1)
    known = {
        name: accuracy_by_class(m.survived, label, classes) for name, m in measurements.items()
    }
    clean = accuracy_by_class(first.clean, label, classes)
    cases = None if worst is None else accuracy_by_class(worst, label, classes)
    return [
        {
            "class": class_name(names, number),
            "samples": clean[number]["samples"],
            "clean": clean[number],
            "attacks": {name: rates[number] for name, rates in known.items()},
            "worst_case": None if cases is None else cases[number],
        }
        for number in range(classes)
        if clean[number]["samples"]
    ]


def class_name(names: Sequence[str], number: int) -> str:
    """Return the name of a class, or its number where it has none.

    >>> class_name(["cat", "dog"], 1), class_name([], 7)
    ('dog', '7')
    """
    return names[number] if 0 <= number < len(names) else str(number)


def suffering_classes(
    clean: Tensor, survived: Tensor, label: Tensor, names: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the classes that surely lose most of what they had right, the worst first.

    First is the class whose interval begins highest, so that few samples do not lead by luck.

    Args:
        clean: (N,) bool, right before the attack.
        survived: (N,) bool, right before and not fooled.
        label: (N,) int64.
        names: of the classes.

    Returns:
        Up to `NAMED` of them: class, lost (how many), right (of how many), share, its 95 %
        interval, and whether it lies above the share that all samples lost (beyond_chance).
    """
    right, lost = int(clean.sum()), int((clean & ~survived).sum())
    whole = lost / right if right else 0.0
    had = torch.bincount(label[clean]).tolist()
    gone = torch.bincount(label[clean & ~survived], minlength=len(had)).tolist()
    rows = [
        {
            "class": class_name(names, number),
            "lost": k,
            "right": n,
            "share": k / n,
            "interval": wilson(k, n),
            "beyond_chance": wilson(k, n)[0] > whole,
        }
        for number, (k, n) in enumerate(zip(gone, had, strict=True))
        if k
    ]
    return sorted(rows, key=lambda row: -row["interval"][0])[:NAMED]


def confusion_matrix(label: Tensor, answer: Tensor, classes: int) -> Tensor:
    """Count how often each class got each answer, int64 (K, K): a row for each label.

    Args:
        label: (N,) int64, from 0 to K - 1.
        answer: (N,) int64; an answer of -1, which is not finite, is left out.
        classes: K.
    """
    known = answer >= 0
    cells = label[known] * classes + answer[known]
    return torch.bincount(cells, minlength=classes**2).reshape(classes, classes)


def confused_pairs(label: Tensor, answer: Tensor, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the pairs of a label and a wrong answer that are most frequent, with their counts.

    Args:
        label: (N,) int64.
        answer: (N,) int64; -1 where it is not finite.
        names: of the classes.
    """
    wrong = (label != answer) & (answer >= 0)
    pairs = zip(label[wrong].tolist(), answer[wrong].tolist(), strict=True)
    ranked = sorted(Counter(pairs).items(), key=lambda item: (-item[1], item[0]))
    return [
        {"class": class_name(names, own), "answer": class_name(names, other), "count": count}
        for (own, other), count in ranked[:NAMED]
    ]
