"""The job `explain`: maps, scores and figures of a classifier of digits, and of clips."""

import csv
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from augment import load_dataset
from explain import METHODS
from explain.scores.deletion import area_under, deletion_curve
from trainers import load_classifier
from trainers.run.main import main

SMALL = ["--threads", "1", "--smoke", "--model", "zoo:digits-smallcnn-linf"]


def explain(folder: Path, *words: str) -> dict:
    assert main(["explain", *SMALL, "--run-dir", str(folder), *words]) == 0
    summary: dict = json.loads((folder / "summary.json").read_text())
    return summary


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explain") / "run"
    explain(folder, "--samples", "2", "--method", "all")
    return folder


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "scores.csv").open() as file:
        return list(csv.DictReader(file))


def test_every_method_has_a_row_for_each_sample_and_a_map(run: Path) -> None:
    found = rows(run)
    assert {row["method"] for row in found} == set(METHODS)
    assert len(found) == 2 * len(METHODS)
    assert len(list((run / "figures").glob("explain-*.png"))) == 2
    maps = load_file(run / "checkpoints/explain-saliency/00000.safetensors")["maps"]
    assert maps.shape == (2, 8, 8)
    report = (run / "report.html").read_text()
    assert report.count("data:image/png") == 2
    assert "insertion" in report


def test_scores_are_those_of_the_maps(run: Path) -> None:
    model, ds = (
        load_classifier("zoo:digits-smallcnn-linf", in_channels=1),
        load_dataset("digits", "test", samples=60),
    )
    found = [row for row in rows(run) if row["method"] == "grad-cam"]
    x, _ = ds.stack([ds.ids.index(row["id"]) for row in found])
    with torch.no_grad():
        y = model(x).argmax(1)
    assert [row["class"] for row in found] == [str(int(i)) for i in y]
    maps = load_file(run / "checkpoints/explain-grad-cam/00000.safetensors")["maps"]
    areas = area_under(deletion_curve(model, x, y, maps, steps=20))
    assert [float(row["deletion"]) for row in found] == pytest.approx(areas.tolist(), abs=1e-4)


def test_what_is_done_is_not_done_again(run: Path) -> None:
    files = sorted((run / "checkpoints").rglob("0*.safetensors"))
    before = [file.stat().st_mtime_ns for file in files]
    text = (run / "summary.json").read_text()
    files[0].unlink()
    (run / "summary.json").unlink()
    explain(run, "--samples", "2", "--method", "all")
    assert [file.stat().st_mtime_ns for file in files[1:]] == before[1:]
    again = json.loads((run / "summary.json").read_text())
    for name, one in json.loads(text)["methods"].items():
        assert again["methods"][name]["deletion"] == one["deletion"]


def test_a_class_may_be_asked_for(tmp_path: Path) -> None:
    words = ("--samples", "3", "--method", "saliency", "--explain-class", "7")
    explain(tmp_path / "r", *words)
    assert {row["class"] for row in rows(tmp_path / "r")} == {"7"}


@pytest.mark.slow
def test_clips_are_explained_frame_by_frame(tmp_path: Path) -> None:
    words = ("--data", "moving-digits", "--model", "c3d-small", "--samples", "1")
    explain(tmp_path / "r", *words, "--method", "saliency", "grad-cam")
    maps = load_file(tmp_path / "r/checkpoints/explain-grad-cam/00000.safetensors")["maps"]
    assert maps.shape[:2] == (1, 16)
    assert len(list((tmp_path / "r/figures").glob("explain-*.png"))) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--method", "salience"), "did you mean saliency?"),
        (("--method", "rise:mask=4"), "rise has no option 'mask'; it has: masks, grid, p, chunk"),
        (("--method", "rise", "rise"), "a method is named twice"),
        (("--method", "rise:p=2"), "p is 2.0; give a number in (0, 1)"),
        (("--explain-class", "eleven"), "--explain-class is 'eleven'"),
        (("--samples", "0"), "--samples is 0"),
    ],
)
def test_impossible_options_are_refused(
    words: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", *SMALL, "--run-dir", str(tmp_path / "r"), *words]) == 2
    assert message in capsys.readouterr().err


def test_a_method_that_cannot_is_left_out_of_all_and_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "flat.py").write_text(
        "from torch import nn\n\n\ndef build(num_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))\n"
    )
    weights = tmp_path / "w.pt"
    torch.save(
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)).state_dict(), weights
    )
    words = ["--model", f"{tmp_path / 'flat.py'}:build", "--weights", str(weights)]
    summary = explain(tmp_path / "all", *words, "--samples", "1", "--method", "all")
    assert {"guided-backprop", "grad-cam"}.isdisjoint(summary["methods"])
    assert any(text.startswith("without grad-cam: no layer of") for text in summary["warnings"])
    one = ["explain", *SMALL, *words, "--samples", "1", "--run-dir", str(tmp_path / "one")]
    assert main([*one, "--method", "grad-cam"]) == 1
    assert "Grad-CAM is for convolutional networks" in capsys.readouterr().err
