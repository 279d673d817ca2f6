"""What the job `evaluate` finds beside its attacks, where it shows it, and what it refuses."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.trainers.watched_progress import moves, watched_progress
from trainers.run.main import main

SMALL = ["--smoke", "--threads", "1", "--test-samples", "40"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    words = ["rounds", "--smoke", "--threads", "1", "--rounds", "0", "--test-attacks", "fgsm"]
    assert main([*words, "--attacks", "pgd", "--run-dir", str(folder / "r")]) == 0
    return folder / "r/checkpoints/round-000.safetensors"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Path:
    """A run with every part, on a classifier and another one that is a little off it."""
    folder = tmp_path_factory.mktemp("evaluate")
    other = {name: value + 0.02 * value.std() * torch.randn(value.shape, generator=torch.Generator()
             .manual_seed(0)) if value.is_floating_point() and value.ndim > 1 else value
             for name, value in load_file(weights).items()}  # fmt: skip
    save_file(other, folder / "other.safetensors")
    words = ["evaluate", *SMALL, "--weights", str(weights), "--attacks", "fgsm", "pgd:steps=5"]
    words += ["fmn:norm=linf,steps=20", "--transfer", f"other={folder}/other.safetensors"]
    with watched_progress() as told:
        assert main([*words, "--run-dir", str(folder / "e")]) == 0
    assert [stage for stage, shares in told.items() if not moves(shares)] == ["measure fgsm"]
    return folder / "e"


def summary_of(run: Path) -> dict:
    return json.loads((run / "summary.json").read_text())


def test_the_curve_agrees_with_the_attacks(run: Path) -> None:
    summary = summary_of(run)
    curve = summary["curve"]
    assert (curve["norm"], curve["samples"]) == ("linf", 24)
    assert set(curve["attacks"]) == {"fmn:steps=10", "fmn"}
    assert curve["area"] <= min(curve["attacks"].values()), "the smallest change of all counts"
    points = curve["points"]
    shares = [point["accuracy"] for point in points]
    assert shares == sorted(shares, reverse=True)
    assert (points[0]["eps"], shares[-1]) == (0, 0)
    assert any(point["eps"] == pytest.approx(0.1) for point in points)
    (check,) = curve["checks"]
    assert check["difference"] == pytest.approx(check["attack_accuracy"] - check["accuracy"])
    assert abs(check["difference"]) < 0.2
    assert check["joint"] <= min(check["attack_accuracy"], check["accuracy"])


def test_classes_and_confusions_add_up(run: Path) -> None:
    summary = summary_of(run)
    rows = summary["classes"]
    assert sum(row["samples"] for row in rows) == summary["samples"] == 40
    for name, found in summary["attacks"].items():
        right = sum(row["attacks"][name]["accuracy"] * row["samples"] for row in rows)
        assert right / 40 == pytest.approx(found["robust_accuracy"])
        matrix = summary["confusion"]["attacks"][name]
        assert sum(map(sum, matrix)) == 40
    clean = summary["confusion"]["clean"]
    assert sum(clean[k][k] for k in range(10)) / 40 == pytest.approx(summary["clean_accuracy"])
    worst = sum(row["worst_case"]["accuracy"] * row["samples"] for row in rows)
    assert worst / 40 == pytest.approx(summary["worst_case"])
    assert summary["strongest"] in ("fgsm", "pgd"), "fmn is held to no budget"
    assert summary["suffer_most"][0]["lost"] > 0


def test_calibration_is_of_all_answers(run: Path) -> None:
    calibration = summary_of(run)["calibration"]
    for one in (calibration["clean"], *calibration["attacks"].values()):
        assert one["samples"] == sum(row["samples"] for row in one["bins"]) == 40
        assert 0 <= one["ece"] <= 1


def test_transfer_has_a_row_for_each_pair(run: Path) -> None:
    transfer = summary_of(run)["transfer"]
    assert transfer["models"] == ["this", "other"]
    pairs = {(row["made_on"], row["tried_on"]): row for row in transfer["pairs"]}
    assert len(pairs) == 4
    for row in pairs.values():
        assert row["attackable"] <= 16
        low, high = row["success_interval"]
        assert low <= row["success"] <= high


def test_masking_was_looked_for_and_not_found(run: Path) -> None:
    summary = summary_of(run)
    names = [check["check"] for check in summary["masking"]["checks"]]
    assert names == [
        "optimisation at inference", "randomness", "zero gradients", "black box beats white box",
        "one step beats many", "random search beats white box", "accuracy at eps 1",
        "one step beats many", "transfer beats white box",
    ]  # fmt: skip
    assert summary["masking"]["signs"] == []


def test_report_and_tensorboard_show_it(run: Path) -> None:
    report = (run / "report.html").read_text()
    for heading in ("Robust accuracy against eps", "Signs of gradient masking", "Classes",
                    "Confusion", "Calibration", "Transfer"):  # fmt: skip
        assert f"<h2>{heading}</h2>" in report
    names = {"curve", "confusion", "reliability", "transfer"}
    assert {file.stem for file in (run / "figures").glob("*.svg")} == names
    assert report.count('class="chart"') == 4
    assert report.count('class="tile"') == len(summary_of(run)["failures"]) > 0
    board = EventAccumulator(str(run / "tensorboard")).Reload()
    assert {f"evaluate/{name}" for name in names} <= set(board.Tags()["images"])
    scalars = {"final/worst_case", "final/clean_accuracy", "curve/area", "ece/clean", "ece/pgd"}
    assert scalars <= set(board.Tags()["scalars"])


def test_a_figure_that_is_gone_comes_back_the_same(
    run: Path, without_seconds: Callable[[Any], Any]
) -> None:
    file = run / "figures/curve.png"
    before, summary = file.read_bytes(), without_seconds(summary_of(run))
    file.unlink()
    assert main(["--resume", str(run)]) == 0
    assert file.read_bytes() == before
    assert without_seconds(summary_of(run)) == summary


def test_other_weights_are_refused_on_resume(run: Path) -> None:
    other = run.parent / "other.safetensors"
    before = other.read_bytes()
    save_file({name: value * 2 for name, value in load_file(other).items()}, other)
    picture = run / "figures/curve.png"
    kept = picture.read_bytes()
    picture.unlink()
    try:
        assert main(["--resume", str(run)]) == 3
    finally:
        other.write_bytes(before)
        picture.write_bytes(kept)


def test_parts_can_be_left_out(tmp_path: Path, weights: Path) -> None:
    words = ["evaluate", *SMALL, "--weights", str(weights), "--attacks", "fgsm"]
    words += ["--curve", "none", "--masking-samples", "0", "--run-dir", str(tmp_path / "e")]
    assert main(words) == 0
    summary = summary_of(tmp_path / "e")
    assert (summary["curve"], summary["transfer"]) == (None, None)
    assert summary["masking"] == {"samples": 0, "checks": [], "signs": []}
    assert not (tmp_path / "e/figures/curve.png").exists()
    report = (tmp_path / "e/report.html").read_text()
    assert "<h2>Classes</h2>" in report
    assert "gradient masking" not in report


SOURCE = """
import torch

class Detached(torch.nn.Module):
    def __init__(self, numpy):
        super().__init__()
        self.numpy, self.line = numpy, torch.nn.Linear(64, 10)

    def forward(self, x):
        flat = torch.from_numpy(x.flatten(1).numpy()) if self.numpy else x.flatten(1)
        return self.line(flat).detach()

def detached():
    return Detached(False)

def numpy():
    return Detached(True)
"""


@pytest.mark.parametrize("factory", ["detached", "numpy"])
def test_a_model_without_gradients_can_be_measured_and_is_warned_of(
    factory: str, tmp_path: Path
) -> None:
    (tmp_path / "net.py").write_text(SOURCE)
    words = ["evaluate", *SMALL, "--model", f"{tmp_path}/net.py:{factory}", "--attacks"]
    assert main([*words, "square:queries=5", "--run-dir", str(tmp_path / "e")]) == 0
    summary = summary_of(tmp_path / "e")
    assert summary["curve"] is None
    assert any("gradient masking, no gradient: " in text for text in summary["warnings"])
    assert any("no curve by fmn:steps=10: " in text for text in summary["warnings"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--curve", "pgd"], "--curve pgd is held to linf 0.1; it wants attacks that look for"),
        (["--curve", "cw"], "--curve cw is held to smallest l2"),
        (["--curve", "generator"], "--curve generator has no budget"),
        (["--transfer", "plain.pt"], "give NAME=WEIGHTS or NAME=WEIGHTS,model=MODEL"),
        (["--transfer", "this=a.pt"], "none of them 'this'"),
        (["--transfer", "a=gone.pt"], "gone.pt"),
        (["--transfer-attack", "pgdd"], "there is no attack 'pgdd'"),
    ],
)
def test_what_cannot_be_is_refused_first(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *SMALL, *words, "--run-dir", str(tmp_path / "e")]) in (2, 3)
    assert message in capsys.readouterr().err
    assert not list(tmp_path.rglob("checkpoints/*.safetensors"))
