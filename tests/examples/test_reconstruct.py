import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]


def played(script, folder, *words):
    """Run an example in seconds; return its numbers."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, ROOT / "examples" / f"{script}.py", "--output", folder, *words]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / f"{script.replace('_', '-')}.json").read_text())


@pytest.mark.slow
def test_images(tmp_path):
    found = played(
        "reconstruct", tmp_path, "--samples", "120", "--test-samples", "60", "--judge-samples",
        "200", "--epochs", "2", "--width", "4", "--bytes", "8", "16", "--delta-bytes", "10", "20",
        "--generator-steps", "3", "--generator-samples", "40",
    )  # fmt: skip
    names = ["unet", "unet, MSE alone", "paper", "unet, task"]
    assert [row["name"] for row in found["forms"]] == [name for name in names for _ in range(3)]
    for row in found["forms"]:
        assert row["gated"] >= row["plain"] - 0.1
        assert row["gated"] == pytest.approx(
            {0.0: row["plain"], 1.0: row["alone"]}.get(row["share"], row["gated"])
        )
    names = [f"{name}, {form}" for name in ("PGD", "generator") for form in ("paper", "unet")]
    deltas = [row["name"] for row in found["delta"] if "flipped" in row]
    assert deltas == [name for name in names for _ in range(2)]
    for name in ("rates", "samples"):
        assert Image.open(tmp_path / f"reconstruct-{name}.png").width > 300


@pytest.mark.slow
def test_files_for_a_classifier(tmp_path):
    found = played(
        "reconstruct_task", tmp_path, "--samples", "60", "--test-samples", "40", "--epochs", "1",
        "--model-samples", "100", "--width", "4",
    )  # fmt: skip
    images, *rows = found["rows"]
    ends = ["", " + R", " + R, no gate", " + R, task", " + R, task, no gate"]
    assert [row["name"] for row in rows] == [k + end for k in ("x", "x-task") for end in ends]
    assert images["psnr"] > 90
    for row in rows:
        assert row["psnr"] > 8
        assert row["bytes"] == pytest.approx(rows[5]["bytes"], rel=0.05)
        assert 0 <= row["judge"] <= 1
    assert rows[1]["psnr"] > rows[0]["psnr"] - 0.1


@pytest.mark.slow
def test_videos(tmp_path):
    found = played(
        "reconstruct_video", tmp_path, "--samples", "8", "--test-samples", "4", "--epochs", "1",
        "--width", "2", "--bytes", "60", "120",
    )  # fmt: skip
    names = ["plain", "R, error alone", "R, matched", "R, raw"]
    assert [row["name"] for row in found["rows"]] == [name for name in names for _ in range(2)]
    assert len({row["changes_of_x"] for row in found["rows"]}) == 1
    plain = {row["step"]: row for row in found["rows"] if row["name"] == "plain"}
    for row in found["rows"][2:]:
        for key in ("psnr", "flicker"):  # what a gate lets through lies between
            ends = {0.0: plain[row["step"]][key], 1.0: row[f"alone_{key}"]}
            assert row[key] == pytest.approx(ends.get(row["share"], row[key]))
        assert row["psnr"] >= plain[row["step"]]["psnr"] - 0.1
    for name in ("flicker", "clip"):
        assert Image.open(tmp_path / f"reconstruct-{name}.png").width > 300


@pytest.mark.slow
def test_memorised_sets(tmp_path):
    found = played(
        "memorise", tmp_path, "--known", "4", "32", "--widths", "2", "4", "--batches", "40",
        "--fitted", "60",
    )  # fmt: skip
    assert [(row["samples"], row["width"]) for row in found["rows"]] == [
        (4, 2), (4, 4), (32, 2), (32, 4),
    ]  # fmt: skip
    for row in found["rows"]:
        assert row["restored"] > row["plain"] - 0.05
        assert row["total"] == pytest.approx(row["code"] + row["network"] / row["samples"])
        assert row["plain_as_large"] > row["plain"]
