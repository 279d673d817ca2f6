"""Accuracy by class and confusions, against scikit-learn and counts by hand."""

import pytest
import torch
from sklearn.metrics import confusion_matrix as sklearn_matrix

from attacks import AttackResult
from trainers.evaluate.evaluation import AttackedBatch, score_batch
from trainers.evaluate.per_class import (
    accuracy_by_class,
    class_table,
    confused_pairs,
    confusion_matrix,
    suffering_classes,
)
from trainers.evaluate.scores import summarise
from trainers.intervals import wilson


def measurement(y, before, after):
    """An attack that turned answers `before` into `after`."""
    y, before, after = (torch.tensor(v) for v in (y, before, after))
    x = torch.zeros(len(y), 1, 2, 2)
    result = AttackResult(
        x=x, x_adv=x, success=after != y, already=before != y,
        queries=torch.ones_like(y), loss=torch.zeros(len(y)),
    )  # fmt: skip
    sure = torch.full((len(y), 2), 0.5)
    batch = AttackedBatch(torch.arange(len(y)), y, before, 3, result, None, after, sure)
    return summarise([score_batch(batch)], classes=3)


def test_the_matrix_is_scikit_learn_s():
    g = torch.Generator().manual_seed(0)
    label, answer = torch.randint(5, (2, 400), generator=g)
    assert confusion_matrix(label, answer, 5).tolist() == sklearn_matrix(label, answer).tolist()
    answer[:7] = -1
    kept = sklearn_matrix(label[7:], answer[7:], labels=range(5))
    assert confusion_matrix(label, answer, 5).tolist() == kept.tolist()


def test_rates_of_classes_are_counts_with_wilson_intervals():
    right = torch.tensor([True, False, True, True, False])
    rates = accuracy_by_class(right, torch.tensor([0, 0, 2, 2, 2]), 4)
    assert [(row["accuracy"], row["samples"]) for row in rates] == [
        (0.5, 2), (None, 0), (pytest.approx(2 / 3), 3), (None, 0),
    ]  # fmt: skip
    assert rates[2]["interval"] == wilson(2, 3)


def test_the_table_counts_clean_attacks_and_the_worst_case():
    y = [0, 0, 0, 1, 1]
    one = measurement(y, [0, 0, 1, 1, 1], [0, 1, 1, 1, 0])
    two = measurement(y, [0, 0, 1, 1, 1], [1, 0, 1, 1, 1])
    worst = one.survived & two.survived
    first, second = class_table({"one": one, "two": two}, ["cat", "dog", "emu"], worst=worst)
    assert (first["class"], first["samples"], second["class"]) == ("cat", 3, "dog")
    assert [first["clean"]["accuracy"], second["clean"]["accuracy"]] == [
        pytest.approx(2 / 3), 1.0,
    ]  # fmt: skip
    assert first["attacks"]["one"]["accuracy"] == pytest.approx(1 / 3)
    assert second["attacks"]["one"]["accuracy"] == 0.5
    assert first["worst_case"]["accuracy"] == 0
    assert class_table({"one": one}, [])[0]["class"] == "0", "a number stands for a missing name"


def test_the_class_that_loses_most_beyond_chance_is_named_first():
    label = torch.arange(3).repeat_interleave(40)
    clean = torch.ones(120, dtype=torch.bool)
    survived = clean.clone()
    survived[:30], survived[40:44] = False, False  # 30 of 40 and 4 of 40
    first, second = suffering_classes(clean, survived, label, ["a", "b", "c"])
    assert (first["class"], first["lost"], first["right"]) == ("a", 30, 40)
    assert first["beyond_chance"]
    assert not second["beyond_chance"]
    assert first["interval"] == wilson(30, 40)
    assert suffering_classes(clean, clean, label, []) == []


def test_one_loss_of_one_does_not_lead_before_30_of_40():
    label = torch.tensor([0] * 40 + [1])
    clean = torch.ones(41, dtype=torch.bool)
    survived = torch.tensor([False] * 30 + [True] * 10 + [False])
    assert suffering_classes(clean, survived, label, ["many", "one"])[0]["class"] == "many"


def test_frequent_confusions_are_named():
    label, answer = torch.tensor([0, 0, 0, 1, 2, 2]), torch.tensor([1, 1, 0, 0, -1, 2])
    assert confused_pairs(label, answer, ["a", "b"]) == [
        {"class": "a", "answer": "b", "count": 2},
        {"class": "b", "answer": "a", "count": 1},
    ]
