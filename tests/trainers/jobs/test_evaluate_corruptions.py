"""`evaluate --corruptions`: the accuracies are those counted here, and a run resumes by batches."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from attacks.common.randomness import derive_seed
from augment import load_dataset
from augment.corruptions import CORRUPTIONS, SEVERITIES
from tests.soak.folders import differences
from trainers import load_classifier
from trainers.evaluate.corruption_accuracy import summarise_corruptions
from trainers.intervals import wilson
from trainers.run.cli.specs.corruptions import CorruptionName, Severity, corruption_names
from trainers.run.main import main
from trainers.run.show.outcomes.corruption import corruption_lines

WORDS = [
    "evaluate", "--smoke", "--threads", "1", "--train-samples", "100", "--test-samples", "30",
    "--batch-size", "8", "--seed", "4", "--attacks", "fgsm", "--curve", "none",
    "--masking-samples", "0",
    "--corruptions", "glass_blur", "contrast", "shot_noise", "--severities", "5", "2",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corruptions") / "run"
    assert main([*WORDS, "--run-dir", str(folder)]) == 0
    return folder


def summary_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "summary.json").read_text())


def test_accuracies_are_those_of_samples_corrupted_alone(run: Path) -> None:
    found = summary_of(run)["corruptions"]
    model = load_classifier(
        "smallcnn", num_classes=10, in_channels=1, image_size=8,
        weights=run / "checkpoints/classifier.safetensors",
    ).eval()  # fmt: skip
    test = load_dataset("digits", "test", samples=30, seed=4)
    x, y = test.stack(range(30))
    ids = [derive_seed(i) for i in test.ids]
    assert (found["benchmark"], found["samples"], found["severities"]) == ("cifar10-c", 30, [5, 2])
    shares = []
    for name in ("glass_blur", "contrast", "shot_noise"):
        for severity in (5, 2):
            right = 0
            for i in range(30):
                options = {"severity": severity, "seed": 4, "sample_ids": ids[i : i + 1]}
                with torch.no_grad():
                    answer = model(CORRUPTIONS[name](x[i : i + 1], **options)).argmax(1)
                right += int(answer == y[i])
            one = found["corruptions"][name]["by_severity"][str(severity)]
            assert one == {"accuracy": right / 30, "interval": list(wilson(right, 30))}
            shares.append(right / 30)
    assert found["accuracy"] == pytest.approx(sum(shares) / 6)
    assert found["mean_corruption_error"] == pytest.approx(1 - sum(shares) / 6)
    assert min(shares) < max(shares)


def test_they_are_shown(run: Path) -> None:
    found = summary_of(run)["corruptions"]
    lines = "\n".join(corruption_lines(found)).splitlines()
    assert lines[0].split() == ["corruption", "accuracy", "severity", "5", "severity", "2"]
    assert [line.split()[0] for line in lines[1:4]] == ["glass_blur", "contrast", "shot_noise"]
    assert lines[4].startswith(f"mean corruption error {found['mean_corruption_error']:.1%} (")
    report = (run / "report.html").read_text()
    assert "glass_blur" in report
    assert "under the corruptions of" in report  # the heading of the chart
    assert lines[1] in (run / "log.txt").read_text()


@pytest.mark.parametrize(
    "gone",
    [
        ["checkpoints/test-corruptions/00001.safetensors", "figures/corruptions.png"],
        ["checkpoints/test-corruptions", "summary.json", "report.html"],
    ],
)
def test_a_run_goes_on_where_batches_are_missing(
    gone: list[str], run: Path, tmp_path: Path, without_seconds: Callable[[Any], Any]
) -> None:
    copy = tmp_path / run.name
    shutil.copytree(run, copy)
    for name in gone:
        file = copy / name
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    kept = copy / "checkpoints/test-corruptions/00000.safetensors"
    before = kept.stat().st_mtime_ns if kept.exists() else None
    assert main([*WORDS, "--run-dir", str(copy)]) == 0
    assert before is None or kept.stat().st_mtime_ns == before
    first, second = (without_seconds(summary_of(folder)) for folder in (run, copy))
    assert first == second
    assert not [d for d in differences(run, copy) if "corruptions" in str(d)]


def test_other_corruptions_are_another_run(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / run.name
    shutil.copytree(run, copy)
    assert main([*WORDS[:-3], "--severities", "1", "--run-dir", str(copy)]) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--corruptions", "rain"], "gaussian_noise"),
        (["--corruptions", "all", "fog"], "give all alone"),
        (["--corruptions", "fog", "none"], "give none alone"),
        (["--corruptions", "fog", "--severities", "6"], "6"),
        (["--corruptions", "fog", "--severities"], "severities"),
    ],
)
def test_what_cannot_be_is_refused(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "--smoke", *words, "--run-dir", str(tmp_path / "r")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_the_command_line_knows_all() -> None:
    assert corruption_names(["all"]) == list(CORRUPTIONS)
    assert set(get_args(CorruptionName)) == {"none", "all", *CORRUPTIONS}
    assert get_args(Severity) == SEVERITIES
    assert corruption_names(["none"]) == corruption_names([]) == []


def test_means_by_hand() -> None:
    """Two samples, two severities: means over both, intervals of two samples."""
    right = {
        "fog": torch.tensor([[True, False], [True, True]]),
        "snow": torch.tensor([[False, False], [True, False]]),
    }
    found = summarise_corruptions(right, [1, 3])
    assert found["accuracy"] == 0.5
    assert found["mean_corruption_error"] == 0.5
    assert found["interval"] == wilson(1, 2)
    assert found["corruptions"]["fog"]["accuracy"] == 0.75
    by_severity = found["corruptions"]["snow"]["by_severity"]
    assert by_severity["1"] == {"accuracy": 0.5, "interval": wilson(1, 2)}
    assert by_severity["3"] == {"accuracy": 0.0, "interval": wilson(0, 2)}
