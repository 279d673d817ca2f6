"""Jobs with --defence, and the job `detect`, from the command line to their summaries."""

import json
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from attacks import ATTACKS
from trainers.jobs.defended import forget_defences
from trainers.run.main import main

TINY = ["--smoke", "--threads", "1", "--test-samples", "40", "--batch-size", "20"]


PLAIN = ["--curve", "none", "--masking-samples", "0"]


def run(folder: Path, *words: str) -> dict[str, Any]:
    assert main([words[0], *TINY, "--run-dir", str(folder), *words[1:]]) == 0
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return summary


def resume_without(folder: Path, *gone: str) -> dict[str, Any]:
    for name in (*gone, "summary.json"):
        (folder / name).unlink()
    assert main(["--resume", str(folder)]) == 0
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return summary


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier fitted through a defence."""
    folder = tmp_path_factory.mktemp("defended") / "fit"
    run(folder, "fit", "--defence", "bit-depth:bits=3", "--test-attacks", "fgsm")
    return folder / "checkpoints/round-000.safetensors"


def test_a_defence_is_measured_by_what_an_attack_knows(fitted: Path, tmp_path: Path) -> None:
    words = ["--weights", str(fitted), "--defence", "bit-depth:bits=2", "resize-pad:largest=1.3"]
    attacks = ["--attacks", "pgd:steps=5,eot=2", "square:queries=20"]
    summary = run(tmp_path / "a", "evaluate", *words, *attacks, *PLAIN)
    defence = summary["defence"]
    assert defence["defences"] == ["bit-depth:bits=2", "resize-pad:largest=1.3"]
    for name, rates in defence["attacks"].items():
        assert [*rates] == ["undefended", "blind", "as_is", "adaptive"]
        assert rates["adaptive"]["accuracy"] == summary["attacks"][name]["robust_accuracy"]
        assert all(r["interval"][0] <= r["accuracy"] <= r["interval"][1] for r in rates.values())
    pgd, square = defence["attacks"].values()
    assert pgd["undefended"]["accuracy"] < 0.9
    assert pgd["adaptive"]["accuracy"] < pgd["as_is"]["accuracy"]  # whose gradient is zero
    assert square["as_is"] == square["adaptive"]  # no gradient, so there is nothing to know
    text = (tmp_path / "a/log.txt").read_text()
    assert "without defence" in text
    assert "under the adaptive one" in text
    gone = ("answers-test-pgd/00001.safetensors", "test-pgd-blind/00000.safetensors")
    again = resume_without(tmp_path / "a", *(f"checkpoints/{name}" for name in gone))
    assert again["defence"] == defence


def test_an_attack_forgets_what_it_knows_of_defences() -> None:
    knowing = ATTACKS["pgd"](steps=3, bpda="surrogate", eot=5)
    assert forget_defences(knowing) == ATTACKS["pgd"](steps=3)
    assert forget_defences(ATTACKS["square"](queries=9)) == ATTACKS["square"](queries=9)


def test_a_defence_that_does_not_fit_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*TINY, "--run-dir", str(tmp_path / "a"), "--defence"]
    assert main(["evaluate", *words, "jpg"]) == 2
    assert "there is no defence 'jpg'; did you mean jpeg?" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


@pytest.fixture(scope="module")
def detected(fitted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the job detect."""
    folder = tmp_path_factory.mktemp("detected") / "run"
    run(folder, "detect", "--weights", str(fitted), "--unseen-attacks", "fgsm")
    return folder


def test_a_detector_is_fitted_and_measured(detected: Path) -> None:
    summary = json.loads((detected / "summary.json").read_text())
    kinds = [each["kind"] for each in summary["attacks"].values()]
    assert kinds == ["fitted to", "unseen", "knows it"]
    for each in summary["attacks"].values():
        assert each["budget"] == "linf 0.1"
        assert each["gets_through"]["count"] <= each["success"]["count"] <= 40
        if each["auc"] is not None:
            assert each["auc_interval"][0] <= each["auc"] <= each["auc_interval"][1]
            assert [*each["detection"]] == ["0.01", "0.05"]
    evading = summary["attacks"]["evasion"]["gets_through"]["count"]
    assert evading >= summary["attacks"]["fgsm"]["gets_through"]["count"]
    assert (detected / "figures/roc.png").exists()
    board = EventAccumulator(str(detected / "tensorboard"), {"tensors": 0}).Reload()
    curves = {f"detect/{name}" for name, each in summary["attacks"].items() if each["auc"]}
    assert board.PluginTagToContent("pr_curves").keys() == curves
    for name in curves:  # at the lowest threshold all is found, at the share that is attacked
        found = make_ndarray(board.Tensors(name)[0].tensor_proto)
        attacked = summary["attacks"][name.partition("/")[2]]["success"]["count"]
        assert found[4, 0] == pytest.approx(attacked / (attacked + summary["samples"]))
        assert found[5, 0] == 1
    (clean,) = board.Scalars("final/clean_accuracy")
    assert clean.value == pytest.approx(summary["clean_accuracy"]["rate"])
    gone = ("checkpoints/kept-test-fgsm/00001.safetensors", "detector.safetensors")
    assert resume_without(detected, *gone) == summary


def test_a_detector_is_measured_again(fitted: Path, detected: Path, tmp_path: Path) -> None:
    words = ["--weights", str(fitted), "--unseen-attacks", "fgsm", "--evasion-classes", "1"]
    again = run(tmp_path / "b", "detect", *words, "--detector", f"{detected}/detector.safetensors")
    summary = json.loads((detected / "summary.json").read_text())
    assert again["threshold"] == summary["threshold"]
    for name in ("pgd", "fgsm"):
        assert again["attacks"][name] == summary["attacks"][name]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--eps", "1e-6"], 1, "fooled none of 64 training samples"),
        (
            ["--unseen-attacks", "pgd"],
            2,
            "--unseen-attacks names pgd, which the detector is fitted to",
        ),
        (["--layer", "stage9"], 2, "layer is 'stage9'; the model's layers are stage1"),
        (["--detector", "none.safetensors"], 3, "give a file that the job detect wrote"),
        (["--detector", "DETECTOR", "--false-alarms", "0.2"], 2, "has thresholds for "),
        (["--detector", "DETECTOR", "--size", "12"], 3, "is for a layer of 1024 outputs, and"),
    ],
)
def test_impossible_detectors_are_refused(
    fitted: Path, detected: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    words: list[str], code: int, message: str,
) -> None:  # fmt: skip
    file = str(detected / "detector.safetensors")
    words = [file if word == "DETECTOR" else word for word in words]
    common = ["detect", *TINY, "--weights", str(fitted), "--run-dir", str(tmp_path / "a")]
    assert main([*common, *words]) == code
    assert message in capsys.readouterr().err
