"""What the job `attack` says and saves: of whom its rates are, and files that fool."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.metadata import SESSION_START_INFO_TAG

from augment import load_dataset
from trainers import load_classifier
from trainers.evaluate.evaluation import predict
from trainers.intervals import wilson
from trainers.run.main import main

TINY = ["--smoke", "--threads", "1"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rounds") / "run"
    words = ["--attacks", "pgd", "--attack-samples", "pgd=20", "--rounds", "0", "--epochs", "6"]
    assert main(["rounds", *TINY, *words, "--run-dir", str(folder)]) == 0
    return folder / "checkpoints" / "round-000.safetensors"


@pytest.fixture(scope="module")
def model(weights: Path) -> torch.nn.Module:
    shape = {"num_classes": 10, "in_channels": 1, "image_size": 8}
    return load_classifier("smallcnn", weights=weights, **shape)


def attack(folder: Path, weights: Path | None, *words: str) -> tuple[dict, list[dict[str, str]]]:
    given = ["--weights", str(weights)] if weights else []
    assert main(["attack", *TINY, *given, "--run-dir", str(folder), *words]) == 0
    with (folder / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    return json.loads((folder / "summary.json").read_text()), rows


def pictures(folder: Path) -> torch.Tensor:
    files = sorted((folder / "samples").glob("*.png"))
    return torch.stack([torch.from_numpy(np.array(Image.open(f)))[None] / 255 for f in files])


@pytest.mark.parametrize(
    ("name", "norm", "eps"),
    [("fmn:steps=30", "l2", None), ("pgd:loss=margin,early_stop=true", "linf", 0.12),
     ("pgd:norm=l2,eps=0.9,early_stop=true", "l2", 0.9)],
)  # fmt: skip
def test_the_saved_pictures_fool_as_the_summary_says(
    name: str, norm: str, eps: float | None, weights: Path, model: torch.nn.Module, tmp_path: Path
) -> None:
    words = ["--attack", name, "--test-samples", "60"]
    words += ["--steps", "10"] if name.startswith("pgd") else []
    words += ["--eps", str(eps)] if norm == "linf" and eps else []
    summary, rows = attack(tmp_path / "a", weights, *words)
    x, y = load_dataset("digits", "test", samples=60).stack(range(60))
    read = pictures(tmp_path / "a")
    right = predict(model, x).argmax(1) == y
    fooled = right & (predict(model, read).argmax(1) != y)
    if eps is not None:
        size = (read - x).flatten(1).norm(torch.inf if norm == "linf" else 2, dim=1)
        fooled &= size <= eps + 2e-6
    assert int(fooled.sum()) > 0
    assert summary["attackable"] == int(right.sum()) < 60
    assert summary["fooled"] == int(fooled.sum())
    assert summary["success"] == int(fooled.sum()) / int(right.sum())
    assert summary["success_interval"] == list(wilson(int(fooled.sum()), int(right.sum())))
    assert [row["attackable"] == "True" for row in rows] == right.tolist()
    saved = summary["saved"]
    assert (saved["as"], saved["survive"]) == ("bytes", int(fooled.sum()))
    assert saved["rounding_lost"] > 0 or eps is not None, "else nothing was pushed on"
    assert saved["survive"] >= 0.9 * saved["found"]
    with np.load(tmp_path / "a/samples.npz") as arrays:
        assert np.array_equal(arrays["x_adv"], read.numpy()), "the npz holds what was saved"


def test_saved_as_float_the_share_that_survives_rounding_is_told(
    weights: Path, model: torch.nn.Module, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--attack", "fmn:steps=30", "--test-samples", "60", "--save-as", "float"]
    summary, _ = attack(tmp_path / "a", weights, *words)
    x, y = load_dataset("digits", "test", samples=60).stack(range(60))
    right = predict(model, x).argmax(1) == y
    fooled = right & (predict(model, pictures(tmp_path / "a")).argmax(1) != y)
    saved = summary["saved"]
    assert summary["success"] == 1 > saved["survive_share"] > 0
    assert saved["survive"] == int(fooled.sum())
    assert saved["success_as_bytes"] == int(fooled.sum()) / int(right.sum())
    assert f"{saved['survive']} of the {saved['found']} fooled" in capsys.readouterr().out


def test_nothing_that_was_wrong_before_succeeds(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary, rows = attack(
        tmp_path / "a", weights, "--attack", "fgsm:eps=1e-6", "--test-samples", "150"
    )
    wrong = sum(row["before"] != row["label"] for row in rows)
    assert wrong > 1
    assert (summary["success"], summary["attackable"]) == (0, 150 - wrong)
    assert summary["saved"]["success_as_bytes"] == 0
    shown = capsys.readouterr().out
    assert f"of the {150 - wrong} samples that could be attacked" in shown
    assert f"{wrong} of all 150 were wrong before" in shown
    metrics = json.loads((tmp_path / "a/metrics.jsonl").read_text().splitlines()[-1])["values"]
    assert metrics["final/success"] == 0
    board = EventAccumulator(str(tmp_path / "a/tensorboard")).Reload()
    assert board.Tags()["images"] == ["attack/samples"]
    assert {"results/text_summary", "config/text_summary"} == set(board.Tags()["tensors"])
    assert SESSION_START_INFO_TAG in board.PluginTagToContent("hparams")


def test_a_target_is_counted_of_those_that_were_not_there(
    weights: Path, model: torch.nn.Module, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--attack", "pgd", "--eps", "0.2", "--target", "3", "--test-samples", "60"]
    summary, rows = attack(tmp_path / "a", weights, *words)
    others = [row for row in rows if "3" not in (row["label"], row["before"])]
    assert len(others) < sum(row["label"] != "3" for row in rows) or len(others) == 54
    reached = sum(row["after"] == "3" for row in others)
    assert summary["attackable"] == len(others) < 60
    assert summary["success"] == reached / len(others)
    assert summary["success"] < sum(row["success"] == "True" for row in rows) / 60
    assert "were labelled or called 3 before" in capsys.readouterr().out


def test_what_an_attack_reports_alone_is_in_csv_report_and_summary(
    weights: Path, tmp_path: Path
) -> None:
    summary, rows = attack(tmp_path / "a", weights, "--attack", "wavelet-sparse:steps=20")
    numbers = [int(row["nonzeros"]) for row in rows if row["success"] == "True"]
    assert len(numbers) > 0
    assert min(numbers) > 0
    found = summary["reported"]["nonzeros"]
    assert found["median"] == np.median(numbers)
    assert found["mean"] == pytest.approx(np.mean(numbers))
    assert found["n"] == len(numbers) == summary["fooled"]
    report = (tmp_path / "a/report.html").read_text()
    assert f"<td>nonzeros ({found['n']} samples)</td><td>{found['median']:.4g}</td>" in report
    assert ">nonzeros</abbr></th>" in report


def test_files_lose_their_old_suffix_and_keep_their_number(weights: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    rng = np.random.default_rng(0)
    for name in ("x.png", "x.jpg", "y.tar.png", "v1.2", "Ä b.PNG", "z.jpeg"):
        picture = Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8))
        picture.save(photos / name, "PNG" if "jp" not in name else "JPEG")
    words = ["--data", f"imagefolder:{photos}", "--num-classes", "10", "--attack", "fgsm"]
    attack(tmp_path / "a", weights, *words)
    names = [file.name for file in sorted((tmp_path / "a/samples").iterdir())]
    assert len(set(names)) == len(names) >= 5
    assert not [name for name in names if name.count(".png") > 1 or ".jp" in name.lower()]
    assert any(name.endswith("-x.png") for name in names)
    assert any(name.endswith("-y.tar.png") for name in names)


def test_clips_in_mkv_fool_and_frames_are_reported(tmp_path: Path) -> None:
    words = ["--data", "moving-digits", "--attack", "keyframe:steps=30,lr=0.02", "--train-samples"]
    words += ["40", "--test-samples", "8"]
    folder = tmp_path / "a"
    summary, rows = attack(folder, None, *words)
    assert {"keyframes", "first_success", "queries_to_success"} <= set(rows[0])
    chosen = [len(row["keyframes"].split()) for row in rows if row["attackable"] == "True"]
    assert all(0 < count <= 16 for count in chosen)
    if summary["fooled"]:
        assert summary["reported"]["keyframes"]["n"] == summary["fooled"]
    weights = folder / "checkpoints/classifier.safetensors"
    clips = load_dataset("moving-digits", "test", samples=8)
    shape = {"num_classes": clips.num_classes, "in_channels": 1, "image_size": clips.shape[1:]}
    model = load_classifier("c3d-small", weights=weights, **shape)
    read = load_dataset(f"videofolder:{folder / 'samples'}", "test", frames=16)
    x_adv = read.stack(range(8))[0]
    after = predict(model, x_adv).argmax(1)
    assert [str(bool(a != y)) for a, y in zip(after, clips.labels, strict=True)] == [
        row["success_as_png"] for row in rows
    ]


def test_an_untrained_classifier_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import save_file

    torch.manual_seed(0)
    fresh = load_classifier("smallcnn", num_classes=10, in_channels=1, image_size=8)
    state = {name: t for name, t in fresh.state_dict().items() if "normal" not in name.lower()}
    save_file(state, tmp_path / "w.safetensors")
    given = ["--weights", str(tmp_path / "w.safetensors"), "--test-samples", "40"]
    for job, words in (
        ("attack", ["--attack", "fgsm"]),
        ("evaluate", ["--attacks", "fgsm"]),
        ("rounds", ["--attacks", "pgd", "--rounds", "0", "--attack-samples", "pgd=4"]),
    ):
        folder = tmp_path / job
        assert main([job, *TINY, *given, *words, "--run-dir", str(folder)]) == 0
        summary = json.loads((folder / "summary.json").read_text())
        warned = summary["rounds"][0]["warnings"] if job == "rounds" else summary["warnings"]
        assert any("guessing among 10 classes (10.0%)" in text for text in warned), job
        out = capsys.readouterr()
        assert "guessing among 10 classes" in out.out + out.err
        assert "guessing among 10 classes" in (folder / "report.html").read_text()
