"""The stopping rule: it can fire by default, waits where it must, and counts whom it may."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from trainers.jobs.rounds.measuring import share_above_threshold
from trainers.jobs.rounds.stopping import best_round, cannot_stop, stop_reason
from trainers.run.cli.config import LoopFlags
from trainers.run.main import main

SMALL = [
    "--threads", "1", "--train-samples", "400", "--test-samples", "120", "--patience", "0",
    "--epochs", "15", "--retrain-epochs", "8", "--attack-samples", "generator=8", "pgd=all",
    "--generator-test-samples", "20", "--rounds", "2",
]  # fmt: skip


def row(number: int, share: float | None) -> dict:
    return {
        "round": number,
        "worst_case": 0.1 * number,
        "validation": None,
        "loss_above_threshold": share,
    }


def validated(number: int, test: float, val: float) -> dict:
    return row(number, None) | {"worst_case": test, "validation": {"worst_case": val}}


def test_validation_samples_choose_the_round_and_the_end() -> None:
    values = [(0.9, 0.2), (0.1, 0.5), (0.8, 0.5), (0.9, 0.4)]
    rows = [validated(number, *each) for number, each in enumerate(values)]
    assert best_round(rows) == 2
    loop = replace(LoopFlags(), rounds=9, patience=2)
    assert stop_reason(rows[:2], loop) is None
    assert "on validation samples has not grown for 2" in str(stop_reason(rows, loop))
    assert best_round([row(0, None), row(1, None)]) == 1, "test samples choose nothing"


def test_it_fires_once_the_generator_falls_short_of_what_it_could() -> None:
    loop = replace(LoopFlags(), rounds=9)
    assert stop_reason([row(0, 0.2), row(1, 0.89)], loop) is None
    assert "90% of the test samples" in str(stop_reason([row(0, 0.2), row(1, 0.9)], loop))


def test_it_waits_where_the_generator_never_could_and_is_not_off_for_the_whole_run() -> None:
    loop = replace(LoopFlags(), rounds=9)
    assert stop_reason([row(0, 0.95)], loop) is None
    assert cannot_stop([row(0, 0.95)], loop)
    assert not cannot_stop([row(0, 0.5)], loop)
    assert stop_reason([row(0, 0.95), row(1, 1.0)], loop) is None
    assert stop_reason([row(0, 0.95), row(1, 0.5), row(2, 0.95)], loop) is not None
    assert stop_reason([row(0, None), row(1, None)], loop) is None


def test_the_share_is_of_those_that_could_be_attacked_and_knows_no_distance() -> None:
    columns = {
        "info.score_sum": torch.tensor([0.4, 0.6, 0.5, 0.1, torch.nan]),
        "loss": torch.full((5,), 3.0),  # lam is large
        "attackable": torch.tensor([True, True, True, False, True]),
    }
    assert share_above_threshold(columns, 0.5) == 0.75
    assert (
        share_above_threshold({**columns, "attackable": torch.zeros(5, dtype=torch.bool)}, 0.5)
        is None
    )
    del columns["info.score_sum"]
    assert share_above_threshold(columns, 0.5) is None, "another attack has no such loss"


@pytest.mark.slow
def test_a_run_in_which_it_fires_and_one_in_which_it_does_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Default thresholds; with little weight on the distance the generator goes on fooling."""
    strong = ["--eps", "0.2", "--attacks", "generator:top_k=1,lam=20,steps=60", "pgd"]
    assert main(["rounds", *SMALL, *strong, "--run-dir", str(tmp_path / "s")]) == 0
    summary = json.loads((tmp_path / "s/summary.json").read_text())
    assert "the generator now leaves" in summary["stopped"]
    shares = [one["loss_above_threshold"] for one in summary["rounds"]]
    assert shares[0] < 0.9 <= shares[-1]
    assert min(one["attack_loss"] for one in summary["rounds"]) > 0.2, "eq. (1) was all above 0.2"
    assert "the generator now leaves" in (tmp_path / "s/report.html").read_text()
    weak = ["--eps", "0.2", "--attacks", "generator:top_k=1,lam=1,steps=60", "pgd", "--rounds", "1"]
    assert main(["rounds", *SMALL, *weak, "--run-dir", str(tmp_path / "w")]) == 0
    summary = json.loads((tmp_path / "w/summary.json").read_text())
    assert summary["stopped"] == "the one round is done"
    assert summary["rounds"][-1]["loss_above_threshold"] < 0.9


def test_a_rounds_row_says_of_whom(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--smoke", "--threads", "1", "--attacks", "pgd", "--attack-samples", "pgd=10"]
    words += ["--rounds", "0", "--train-samples", "80", "--test-samples", "30", "--epochs", "3"]
    assert main(["rounds", *words, "--run-dir", str(tmp_path / "r")]) == 0
    (one,) = json.loads((tmp_path / "r/summary.json").read_text())["rounds"]
    assert one["fooled"] <= one["attackable"] <= 8
    assert one["attack_success"] == one["fooled"] / one["attackable"]
    for name in ("clean_accuracy", "attack_success"):
        low, high = one[f"{name}_interval"]
        assert 0 <= low <= one[name] <= high <= 1
    assert set(one["robust_accuracy_interval"]) == {"pgd"}
    shown = capsys.readouterr().out
    for old in ("its loss", "mean |diff|"):
        assert old not in shown
        assert old not in (tmp_path / "r/report.html").read_text()
    assert f"  {one['attackable']}  " in shown


def test_where_nobody_is_fooled_the_change_is_null(tmp_path: Path) -> None:
    words = ["--smoke", "--threads", "1", "--attacks", "pgd:eps=1e-7", "--attack-samples"]
    words += ["pgd=4", "--rounds", "0", "--train-samples", "80", "--test-samples", "20"]
    assert main(["rounds", *words, "--run-dir", str(tmp_path / "r")]) == 0
    text = (tmp_path / "r/summary.json").read_text()
    (one,) = json.loads(text)["rounds"]
    assert one["fooled"] == 0
    assert (one["delta_l1"], one["delta_sparsity"]) == (None, None)
    assert "NaN" not in text
