"""Jobs with --defence, and the job `detect`, from the command line to their summaries."""

import json
from pathlib import Path

import pytest
import torch

from attacks import ATTACKS
from trainers.jobs.defended import forget_defences
from trainers.run.main import main

TINY = ["--smoke", "--threads", "1", "--test-samples", "40", "--batch-size", "20"]


def run(folder: Path, *words: str) -> dict:
    assert main([words[0], *TINY, "--run-dir", str(folder), *words[1:]]) == 0
    return json.loads((folder / "summary.json").read_text())


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier fitted through a defence."""
    folder = tmp_path_factory.mktemp("defended") / "fit"
    run(folder, "fit", "--defence", "bit-depth:bits=3", "--test-attacks", "fgsm")
    return folder / "checkpoints/round-000.safetensors"


def test_a_defence_is_measured_by_what_an_attack_knows(fitted: Path, tmp_path: Path) -> None:
    words = ["--weights", str(fitted), "--defence", "bit-depth:bits=2", "resize-pad:largest=1.3"]
    attacks = ["--attacks", "pgd:steps=5,eot=2", "square:queries=20"]
    summary = run(tmp_path / "a", "evaluate", *words, *attacks)
    defence = summary["defence"]
    assert defence["defences"] == ["bit-depth:bits=2", "resize-pad:largest=1.3"]
    for name, rates in defence["attacks"].items():
        assert [*rates] == ["undefended", "blind", "as_is", "adaptive"]
        assert rates["adaptive"]["accuracy"] == summary["attacks"][name]["robust_accuracy"]
        assert all(r["interval"][0] <= r["accuracy"] <= r["interval"][1] for r in rates.values())
    assert defence["attacks"]["pgd"]["undefended"]["accuracy"] < 0.9
    square = defence["attacks"]["square"]  # it takes no gradient, so there is nothing to know
    assert square["as_is"] == square["adaptive"]
    text = (tmp_path / "a/log.txt").read_text()
    assert "without defence" in text
    assert "under the adaptive one" in text

    again = run(tmp_path / "b", "evaluate", *words, *attacks)
    assert again["defence"] == defence
    for gone in ("answers-test-pgd/00001.safetensors", "test-pgd-blind/00000.safetensors"):
        (tmp_path / "b/checkpoints" / gone).unlink()
    (tmp_path / "b/summary.json").unlink()
    assert main(["--resume", str(tmp_path / "b")]) == 0
    assert json.loads((tmp_path / "b/summary.json").read_text())["defence"] == defence


def test_without_a_defence_there_is_none_in_the_summary(fitted: Path, tmp_path: Path) -> None:
    summary = run(
        tmp_path / "a", "evaluate", "--weights", str(fitted), "--attacks", "fgsm", "--seed", "1"
    )
    assert "defence" not in summary


def test_an_attack_forgets_what_it_knows_of_defences() -> None:
    knowing = ATTACKS["pgd"](steps=3, bpda="surrogate", eot=5)
    assert forget_defences(knowing) == ATTACKS["pgd"](steps=3)
    assert forget_defences(ATTACKS["square"](queries=9)) == ATTACKS["square"](queries=9)


def test_a_defence_that_does_not_fit_is_refused(
    fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*TINY, "--run-dir", str(tmp_path / "a"), "--defence"]
    assert main(["evaluate", *words, "jpg"]) == 2
    assert "there is no defence 'jpg'; did you mean jpeg?" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


def test_a_detector_is_fitted_measured_and_measured_again(fitted: Path, tmp_path: Path) -> None:
    words = ["detect", "--weights", str(fitted), "--test-attacks", "fgsm"]
    summary = run(tmp_path / "a", *words)
    assert [each["kind"] for each in summary["attacks"].values()] == [
        "fitted to",
        "unseen",
        "knows it",
    ]
    for each in summary["attacks"].values():
        assert each["gets_through"]["count"] <= each["success"]["count"] <= 40
        if each["auc"] is not None:
            assert each["auc_interval"][0] <= each["auc"] <= each["auc_interval"][1]
            assert [*each["detection"]] == ["0.01", "0.05"]
    evading = summary["attacks"]["evasion"]["gets_through"]["count"]
    assert evading >= summary["attacks"]["fgsm"]["gets_through"]["count"]
    assert (tmp_path / "a/figures/roc.png").exists()
    file = tmp_path / "a/detector.safetensors"

    again = run(tmp_path / "b", *words, "--detector", str(file))
    assert again["attacks"] == summary["attacks"]
    assert again["threshold"] == summary["threshold"]

    (tmp_path / "a/checkpoints/kept-test-fgsm/00001.safetensors").unlink()
    (tmp_path / "a/summary.json").unlink()
    file.unlink()
    assert main(["--resume", str(tmp_path / "a")]) == 0
    assert json.loads((tmp_path / "a/summary.json").read_text()) == summary


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--eps", "1e-6"], 1, "fooled none of 64 training samples"),
        (["--test-attacks", "pgd"], 2, "--test-attacks names pgd, which the detector is fitted to"),
        (["--layer", "stage9"], 2, "layer is 'stage9'; the model's layers are stage1"),
        (["--detector", "none.safetensors"], 3, "give a file that the job detect wrote"),
    ],
)
def test_impossible_detectors_are_refused(
    fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    words: list[str], code: int, message: str,
) -> None:  # fmt: skip
    common = ["detect", *TINY, "--weights", str(fitted), "--run-dir", str(tmp_path / "a")]
    assert main([*common, *words]) == code
    assert message in capsys.readouterr().err


def test_a_detector_of_another_layer_is_refused(
    fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["detect", "--weights", str(fitted), "--test-attacks", "fgsm"]
    run(tmp_path / "a", *words, "--layer", "head")
    file = str(tmp_path / "a/detector.safetensors")
    other = [*words[1:], "--detector", file, "--data", "digits", "--size", "12"]
    assert main(["detect", *TINY, "--run-dir", str(tmp_path / "b"), *other]) == 0  # head is alike
    assert main(["detect", *TINY, "--run-dir", str(tmp_path / "c"), *other[:-4], "--false-alarms",
                 "0.2"]) == 2  # fmt: skip
    assert "has thresholds for" in capsys.readouterr().err


def test_draws_of_defences_do_not_touch_the_global_generator(fitted: Path, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    run(tmp_path / "a", "evaluate", "--weights", str(fitted), "--defence", "resize-pad",
        "--attacks", "fgsm")  # fmt: skip
    assert torch.equal(before, torch.get_rng_state())
