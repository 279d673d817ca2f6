"""Intervals, who could be attacked, means over the fooled, columns of an attack's own."""

import math

import pytest
import torch
from scipy.stats import binomtest

from attacks import AttackResult
from trainers.evaluate.evaluation import AttackedBatch, own_columns, score_batch
from trainers.evaluate.scores import doubts_of, summarise
from trainers.intervals import wilson


@pytest.mark.parametrize("n", [1, 7, 40, 5000])
def test_wilson_is_scipys(n: int) -> None:
    for k in {0, 1, n // 3, n - 1, n}:
        low, high = binomtest(k, n).proportion_ci(method="wilson")
        assert wilson(k, n) == pytest.approx((low, high), abs=1e-12)
        assert 0 <= wilson(k, n)[0] <= k / n <= wilson(k, n)[1] <= 1


def test_wilson_of_nothing_and_of_no_count() -> None:
    assert wilson(0, 0) == (0, 1)
    for k, n in ((2, 1), (-1, 3)):
        with pytest.raises(ValueError, match=f"{k} successes of {n}"):
            wilson(k, n)


def batch(
    y: list[int],
    before: list[int],
    success: list[bool],
    *,
    target: int | None = None,
    info: dict | None = None,
) -> AttackedBatch:
    labels, n = torch.tensor(y), len(y)
    x = torch.zeros(n, 1, 2, 2)
    x_adv = x + torch.arange(1, n + 1).view(-1, 1, 1, 1) / 100
    won = torch.tensor(success)
    result = AttackResult(
        x=x, x_adv=x_adv, success=won, already=torch.zeros(n, dtype=torch.bool),
        queries=torch.ones(n, dtype=torch.int64), loss=torch.zeros(n), info=info or {},
    )  # fmt: skip
    wanted = None if target is None else torch.full_like(labels, target)
    return AttackedBatch(torch.arange(n), labels, torch.tensor(before), 3, result, wanted)


def test_untargeted_those_that_were_right_could_be_attacked() -> None:
    # right and fooled, right and not, wrong and "fooled", no finite answer before
    m = summarise([score_batch(batch([0, 1, 2, 0], [0, 1, 0, -1], [True, False, True, True]))])
    assert (m.samples, m.attackable, m.fooled) == (4, 2, 1)
    assert (m.success, m.success_interval) == (0.5, wilson(1, 2))
    assert m.clean_accuracy_interval == wilson(2, 4)
    assert (m.robust_accuracy, m.robust_accuracy_interval) == (0.25, wilson(1, 4))
    assert m.delta_l1 == pytest.approx(0.01), "the change of the one that was fooled"


def test_targeted_neither_its_label_nor_its_answer_is_the_target() -> None:
    # class 2 by label, called 2 though wrong, free and reached, wrong but free and not reached
    parts = batch([2, 0, 0, 1], [2, 2, 0, 0], [True, True, True, False], target=2)
    m = summarise([score_batch(parts)])
    assert parts.attackable.tolist() == [False, False, True, True]
    assert (m.attackable, m.fooled, m.success) == (2, 1, 0.5)
    assert m.survived.tolist() == [True, False, False, False], "the label is no harm"


def test_what_nobody_was_fooled_by_has_no_mean() -> None:
    m = summarise([score_batch(batch([0, 1], [0, 0], [False, True]))])
    assert m.success == 0
    assert math.isnan(m.delta_l1)
    assert math.isnan(m.delta_sparsity)
    none = summarise([score_batch(batch([0], [1], [True]))])
    assert math.isnan(none.success)
    assert none.success_interval == (0, 1)


def test_what_an_attack_reports_of_each_sample_becomes_columns() -> None:
    info = {
        "few": torch.tensor([3, 4]), "list": [0.5, 1.5], "frames": torch.eye(2).bool(),
        "warnings": ["one", "two"], "weights": torch.zeros(2, 3, 4, 5), "count": 7,
        "wide": torch.zeros(2, 1000), "pairs": (torch.zeros(2), torch.zeros(2)), "other": [1],
    }  # fmt: skip
    parts = batch([0, 1], [0, 1], [True, True], info=info)
    assert set(own_columns(parts.result)) == {"few", "list", "frames"}
    columns = score_batch(parts)
    assert columns["info.few"].tolist() == [3, 4]
    assert columns["info.list"].tolist() == [0.5, 1.5]


def test_a_classifier_at_chance_is_doubted() -> None:
    y = torch.arange(100) % 10
    assert doubts_of(y, y, classes=10) == []
    (one,) = doubts_of(torch.where(torch.arange(100) < 12, y, (y + 1) % 10), y, classes=10)
    assert "right on 12 of 100 clean samples (12.0%" in one
    assert "guessing among 10 classes (10.0%)" in one
    (worse,) = doubts_of((y + 1) % 10, y, classes=10)
    assert "0 of 100" in worse
    assert doubts_of(torch.where(torch.arange(100) < 30, y, (y + 1) % 10), y, classes=10) == []


def test_one_answer_to_everything_is_doubted() -> None:
    y = torch.arange(100) % 4
    found = doubts_of(torch.zeros(100, dtype=torch.int64), y, classes=4)
    assert any("gives 100.0% of 100 clean samples class 0" in doubt for doubt in found)
    lopsided = torch.cat([torch.zeros(70), torch.ones(30)]).long()
    (only,) = doubts_of(torch.zeros(100, dtype=torch.int64), lopsided, classes=2)
    assert "which is the label of 70.0%" in only, "70 % are right, which is above chance"
    assert doubts_of(torch.zeros(9).long(), torch.zeros(9).long(), classes=5) == []
    broken = doubts_of(torch.full((20,), -1), torch.arange(20) % 2, classes=2)
    assert any("no finite answer" in doubt for doubt in broken)
