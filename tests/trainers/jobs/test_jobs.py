"""The jobs `attack` and `evaluate`, from the command line to their files."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from augment import load_dataset
from trainers import load_classifier
from trainers.evaluate.evaluation import predict
from trainers.jobs.attack import class_number
from trainers.run.main import main
from trainers.run.show.outcomes.attack import not_counted

TINY = ["--smoke", "--threads", "1"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rounds") / "run"
    words = ["--attacks", "pgd", "--attack-samples", "pgd=20", "--rounds", "0", "--epochs", "12"]
    assert main(["rounds", *TINY, *words, "--run-dir", str(folder)]) == 0
    return folder / "checkpoints" / "round-000.safetensors"


def job(name: str, folder: Path, weights: Path, *words: str) -> dict:
    assert main([name, *TINY, "--weights", str(weights), "--run-dir", str(folder), *words]) == 0
    return json.loads((folder / "summary.json").read_text())


def test_evaluate_keeps_the_contract(weights: Path, tmp_path: Path) -> None:
    summary = job("evaluate", tmp_path / "e", weights)
    assert set(summary) >= {"job", "clean_accuracy", "attacks", "worst_case", "warnings"}
    for measured in summary["attacks"].values():
        names = {"robust_accuracy", "success", "median_l2", "queries", "seconds"}
        assert set(measured) >= names
        assert summary["worst_case"] <= measured["robust_accuracy"] <= summary["clean_accuracy"]
        assert measured["median_l2"] <= 0.1 * 8
    assert (tmp_path / "e" / "report.html").exists()


def test_what_is_undefined_is_null(weights: Path, tmp_path: Path) -> None:
    summary = job("evaluate", tmp_path / "e", weights, "--attacks", "fgsm:eps=1e-6")
    assert summary["attacks"]["fgsm"]["median_l2"] is None
    assert "NaN" not in (tmp_path / "e" / "summary.json").read_text()


def test_attack_saves_what_it_says(weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    summary = job("attack", folder, weights, "--attack", "pgd:eps=0.3", "--steps", "10")
    model = load_classifier(
        "smallcnn", num_classes=10, in_channels=1, image_size=8, weights=weights
    )
    with np.load(folder / "samples.npz") as saved:
        x_adv, success = torch.from_numpy(saved["x_adv"]), saved["success"]
    test = load_dataset("digits", "test", samples=8)
    x, y = test.stack(range(8))
    assert torch.equal(torch.from_numpy(success), predict(model, x_adv).argmax(1) != y)
    assert float((x_adv - x).abs().max()) <= 0.3 + 1e-6
    attackable = predict(model, x).argmax(1) == y
    assert summary["success"] == success[attackable.numpy()].mean() > 0

    with (folder / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == test.ids
    before, after = predict(model, x).softmax(1), predict(model, x_adv).softmax(1)
    for i, row in enumerate(rows):
        top = before[i].topk(5).indices
        assert float(row["top_sum_after"]) == pytest.approx(float(after[i, top].sum()), abs=1e-5)
        assert float(row["linf"]) == pytest.approx(float((x_adv - x)[i].abs().max()))
    for i, file in enumerate(sorted((folder / "samples").iterdir())):
        pixels = torch.from_numpy(np.array(Image.open(file))).float()[None] / 255  # (1, 8, 8)
        assert float((pixels - x_adv[i]).abs().max()) <= 0.5 / 255 + 1e-6
        fooled = predict(model, pixels[None]).argmax(1) != y[i]
        assert str(bool(fooled)) == rows[i]["success_as_png"]


def test_what_was_wrong_before_is_told_from_success(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--attack", "fgsm:eps=1e-6", "--test-samples", "60"]  # too weak to fool any sample
    summary = job("attack", tmp_path / "a", weights, *words)
    with (tmp_path / "a" / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    right = sum(row["before"] == row["label"] for row in rows)
    assert 0 < right < 60
    assert (summary["attackable"], summary["success"]) == (right, 0)
    shown = f" of the {right} samples that could be attacked"
    assert shown in capsys.readouterr().out
    assert shown in (tmp_path / "a" / "report.html").read_text()


@pytest.mark.parametrize(
    ("could", "target", "line"),
    [
        (8, None, "all 8 could be attacked"),
        (7, None, "1 of all 8 was wrong before and is not counted"),
        (0, "cat", "8 of all 8 were labelled or called cat before and are not counted"),
    ],
)
def test_the_line_about_the_samples_before(could: int, target: str | None, line: str) -> None:
    assert not_counted({"samples": 8, "attackable": could, "target": target}) == line


def test_unlabelled_samples_are_never_wrong_before(weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(6):
        Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(folder / f"{i}.png")
    words = ["--data", f"imagefolder:{folder}", "--num-classes", "10"]
    summary = job("attack", tmp_path / "a", weights, *words)
    assert summary["samples"] == summary["attackable"] == 6


def test_a_target_by_name(weights: Path, tmp_path: Path) -> None:
    words = ["--attack", "pgd", "--eps", "0.8", "--steps", "20", "--target", "3"]
    summary = job("attack", tmp_path / "a", weights, *words)
    with (tmp_path / "a" / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["success"] == "True" for row in rows] == [row["after"] == "3" for row in rows]
    assert summary["success"] >= 0.5


def test_class_numbers() -> None:
    ds = load_dataset("digits", "test", samples=10)
    ds.classes = ["polar bear", "Dog", *"cdefghij"]
    assert class_number("DOG", ds) == 1
    assert class_number("7", ds) == 7
    assert class_number(None, ds) is None
    with pytest.raises(ValueError, match="such as polar bear"):
        class_number("bear", ds)
    with pytest.raises(ValueError, match="below 10"):
        class_number("10", ds)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--attack", "fgsm", "--steps", "4"], "fgsm has no option 'steps'"),
        (["--target", "eleven"], "--target is 'eleven'"),
    ],
)
def test_flags_that_do_not_fit_are_refused(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["attack", *TINY, "--run-dir", str(tmp_path / "a"), *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


def test_without_weights_a_classifier_of_digits_is_fitted(tmp_path: Path) -> None:
    assert main(["evaluate", *TINY, "--run-dir", str(tmp_path / "e")]) == 0
    assert (tmp_path / "e" / "checkpoints" / "classifier.safetensors").exists()
