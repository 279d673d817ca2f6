import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
WAYS = ["gradient", "gradient, same", "SA: first, constant", "first", "uniform", "IFD"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the example writes, in seconds."""
    folder = tmp_path_factory.mktemp("keyframe")
    command = [
        sys.executable, ROOT / "examples" / "keyframe.py", "--output", folder, "--models",
        "c3d-small", "--seeds", "2", "--epochs", "1", "--train-samples", "300", "--clips", "4",
        "--steps", "15", "--lr", "0.1",
    ]  # fmt: skip
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    (folder / "out.txt").write_text(done.stdout)
    return folder


def test_every_way_is_measured_with_every_seed(folder):
    found = json.loads((folder / "keyframe.json").read_text())
    assert [(r["seed"], r["way"]) for r in found["rows"]] == [(s, w) for s in (0, 1) for w in WAYS]
    for row in found["rows"]:
        assert 0 <= row["fooling_rate"] <= 1
        assert row["clips"] > 0
        if row["fooling_rate"] and row["way"] != "gradient":
            assert row["touched"] == pytest.approx(row["count"] / 16)
    assert max(row["fooling_rate"] for row in found["rows"]) > 0.2
    assert [row["way"] for row in found["means"]] == WAYS
    for row in found["means"]:
        both = [r["map"] for r in found["rows"] if r["way"] == row["way"]]
        if None not in both:
            assert row["map"] == pytest.approx(sum(both) / 2)


def test_the_table_is_printed_and_figures_are_pictures(folder):
    lines = (folder / "out.txt").read_text().splitlines()
    assert [line.split(" | ")[1] for line in lines if line.startswith("| c3d-small")] == WAYS
    for name in ("rate", "weights"):
        width, height = Image.open(folder / f"keyframe-{name}-c3d-small.png").size
        assert width >= 320
        assert height >= 300
