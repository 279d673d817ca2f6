"""The job `explain`: maps, scores and figures of a classifier of digits, and of clips."""

import csv
import json
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from scipy.stats import spearmanr

from attacks.common.randomness import derive_seed
from augment import load_dataset
from explain import METHODS
from explain.perturbation.boxes import Box, find_boxes
from explain.scores.deletion import area_under, deletion_curve
from tests.trainers.watched_progress import watched_progress
from trainers import load_classifier
from trainers.run.cli.specs.explanations import build_method
from trainers.run.main import main

SMALL = ["--threads", "1", "--smoke", "--model", "zoo:digits-smallcnn-linf"]


def explain(folder: Path, *words: str) -> dict:
    assert main(["explain", *SMALL, "--run-dir", str(folder), *words]) == 0
    summary: dict = json.loads((folder / "summary.json").read_text())
    return summary


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explain") / "run"
    with watched_progress() as told:
        explain(folder, "--samples", "2", "--method", "all")
    assert told["explain"].count(1) == len(METHODS)
    assert len(told["explain"]) > 50  # of a few that have steps
    return folder


def rows(folder: Path, name: str = "scores.csv") -> list[dict[str, str]]:
    with (folder / name).open() as file:
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
    explain(tmp_path / "r", *words, "--method", "saliency", "difference-map:attack=fgsm")
    maps = load_file(tmp_path / "r/checkpoints/explain-saliency/00000.safetensors")["maps"]
    assert maps.shape[:2] == (1, 16)
    names = sorted(file.name for file in (tmp_path / "r/figures").iterdir())
    assert len(names) == 3
    assert [name.partition(".")[2] for name in names] == ["png", "gif", "png"]
    boxes = rows(tmp_path / "r", "boxes.csv")
    assert len({row["frame"] for row in boxes}) > 1
    report = (tmp_path / "r/report.html").read_text()
    assert (report.count("data:image/png"), report.count("data:image/gif")) == (2, 1)


def test_boxes_are_those_of_the_maps_that_learn_a_perturbation(run: Path) -> None:
    found = rows(run, "boxes.csv")
    assert {row["method"] for row in found} <= {"difference-map", "meaningful-perturbation"}
    maps = load_file(run / "checkpoints/explain-difference-map/00000.safetensors")["maps"]
    ids = list(dict.fromkeys(row["id"] for row in rows(run)))
    for sample, map_ in zip(ids, maps, strict=True):
        wanted = [astuple(box) for box in find_boxes(map_)]
        own = [row for row in found if (row["id"], row["method"]) == (sample, "difference-map")]
        sides = [[int(row[side]) for side in ("top", "left", "bottom", "right")] for row in own]
        assert sides == [list(box[:4]) for box in wanted]
        assert [float(row["share"]) for row in own] == pytest.approx([box[4] for box in wanted])


def test_several_generators_have_a_mean_map_and_a_spread(tmp_path: Path) -> None:
    method = "difference-map:instances=3"
    explain(tmp_path / "r", "--samples", "2", "--method", method)
    (file,) = (tmp_path / "r/checkpoints").glob("explain-*/00000.safetensors")
    found, model = load_file(file), load_classifier("zoo:digits-smallcnn-linf", in_channels=1)
    ds = load_dataset("digits", "test", samples=60)
    picked = [ds.ids.index(row["id"]) for row in rows(tmp_path / "r")]
    x, _ = ds.stack(picked)
    ids = [derive_seed(ds.ids[i]) for i in picked]
    each = [
        build_method("difference-map", smoke=True)(model, x, seed=seed, sample_ids=ids)
        for seed in seeds_of_instances(derive_seed(0, "explain"), 3)
    ]
    torch.testing.assert_close(found["maps"], torch.stack(each).mean(0), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(found["spread"], torch.stack(each).std(0), rtol=1e-3, atol=1e-5)
    assert found["spread"].any()


def seeds_of_instances(seed: int, count: int) -> list[int]:
    return [seed, *(derive_seed(seed, "instance", i) for i in range(1, count))]


def write_masks(folder: Path, names: Sequence[str], side: int = 8) -> None:
    """Let the object be the left half of each sample."""
    folder.mkdir()
    for name in names:
        mask = np.zeros((side, side), np.uint8)
        mask[:, : side // 2] = 3
        Image.fromarray(mask).save(folder / f"{name}.png")


@pytest.mark.parametrize("side", [8, 24])
def test_maps_are_scored_by_the_masks_of_objects(run: Path, tmp_path: Path, side: int) -> None:
    write_masks(tmp_path / "masks", [row["id"] for row in rows(run)[:2]], side)
    words = ("--samples", "2", "--method", "saliency", "--masks", str(tmp_path / "masks"))
    summary = explain(tmp_path / "r", *words)
    maps = load_file(run / "checkpoints/explain-saliency/00000.safetensors")["maps"]
    masks = torch.zeros(2, 8, 8, dtype=torch.bool)
    masks[:, :, :4] = True
    found = rows(tmp_path / "r")
    hits = [int(map_.flatten().argmax()) % 8 < 4 for map_ in maps]
    assert [float(row["pointing"]) for row in found] == hits
    wanted = mean_overlap([find_boxes(map_)[0] for map_ in maps])
    assert summary["methods"]["saliency"]["box_iou"] == pytest.approx(wanted, abs=1e-5)
    assert "pointing" in (tmp_path / "r/report.html").read_text()


def mean_overlap(boxes: Sequence[Box]) -> float:
    """The mean overlap of boxes with the left half of 8 x 8 pixels, by counting pixels."""
    left, shares = {(i, j) for i in range(8) for j in range(4)}, []
    for box in boxes:
        own = {(i, j) for i in range(box.top, box.bottom) for j in range(box.left, box.right)}
        shares.append(len(own & left) / len(own | left))
    return sum(shares) / len(shares)


def test_masks_that_are_missing_or_broken_or_changed_are_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    masks, names = tmp_path / "masks", [row["id"] for row in rows(run)[:2]]
    write_masks(masks, names[:1])
    words = ["explain", *SMALL, "--samples", "2", "--method", "saliency", "--masks", str(masks)]
    words += ["--run-dir", str(tmp_path / "r")]
    assert main(words) == 3
    assert f"{masks / names[1]}.png: no such file, and 1 of 2 masks" in capsys.readouterr().err
    (masks / f"{names[1]}.png").write_text("no picture")
    assert main(words) == 3
    assert f"{names[1]}.png: no image of a known format" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()
    (masks / f"{names[1]}.png").write_bytes((masks / f"{names[0]}.png").read_bytes())
    assert main(words) == 0
    (tmp_path / "r/summary.json").unlink()
    Image.fromarray(np.ones((8, 8), np.uint8)).save(masks / f"{names[1]}.png")
    assert main(words) == 3
    assert "is not what it was when the run" in capsys.readouterr().err


def test_methods_that_random_weights_do_not_change_are_flagged(tmp_path: Path) -> None:
    words = ("--samples", "3", "--method", "saliency", "guided-backprop", "smooth-grad", "--checks")
    found = explain(tmp_path / "r", *words)["methods"]
    assert found["saliency"]["stability"] == pytest.approx(1)
    assert found["smooth-grad"]["stability"] < 0.99
    assert found["guided-backprop"]["survives_random_weights"]
    assert not found["saliency"]["survives_random_weights"]
    text = "guided-backprop survives random weights"
    assert text in (tmp_path / "r/report.html").read_text()
    assert text in (tmp_path / "r/log.txt").read_text()


def test_the_agreement_of_methods_is_in_the_report(run: Path, tmp_path: Path) -> None:
    maps = {
        name: load_file(run / f"checkpoints/explain-{name}/00000.safetensors")["maps"]
        for name in ("saliency", "occlusion")
    }
    pairs = zip(*(each.flatten(1).numpy() for each in maps.values()), strict=True)
    wanted = np.mean([spearmanr(first, second).statistic for first, second in pairs])
    summary = json.loads((run / "summary.json").read_text())
    assert summary["agreement"]["saliency"]["occlusion"] == pytest.approx(wanted, abs=1e-5)
    assert "Do the methods agree?" in (run / "report.html").read_text()
    single = explain(tmp_path / "r", "--samples", "1", "--method", "saliency")
    assert single["agreement"] is None
    assert "Do the methods agree?" not in (tmp_path / "r/report.html").read_text()


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
    assert main([*one, "--method", "grad-cam"]) == 2
    assert "Grad-CAM is for convolutional networks" in capsys.readouterr().err


def test_of_the_default_methods_those_that_cannot_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "flat.py").write_text(
        "from torch import nn\n\n\ndef build():\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    )
    summary = explain(tmp_path / "r", "--model", f"{tmp_path / 'flat.py'}:build", "--samples", "1")
    assert {"saliency", "occlusion"} <= set(summary["methods"])
    assert any(text.startswith("without guided-backprop") for text in summary["warnings"])


def test_a_mask_without_an_object_is_refused_by_name(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    masks, names = tmp_path / "masks", [row["id"] for row in rows(run)[:2]]
    write_masks(masks, names)
    Image.new("L", (8, 8)).save(masks / f"{names[1]}.png")
    words = ["explain", *SMALL, "--samples", "2", "--method", "saliency", "--masks", str(masks)]
    assert main([*words, "--run-dir", str(tmp_path / "r")]) == 3
    assert f"{names[1]}.png holds no object" in capsys.readouterr().err
