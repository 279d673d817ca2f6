import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "flicker.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the example writes, in seconds."""
    folder = tmp_path_factory.mktemp("flicker")
    command = [
        sys.executable, SCRIPT, "--output", folder, "--train-samples", "90", "--test-samples",
        "24", "--epochs", "4", "--attacked", "4", "--steps", "8", "--eps", "0.8", "--fit-steps",
        "6", "--counts", "8", "16", "--seeds", "2",
    ]  # fmt: skip
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return folder


def test_all_experiments_are_told(folder):
    found = json.loads((folder / "flicker.json").read_text())
    assert [row["goal"] for row in found["single"]] == ["untargeted", "targeted"]
    assert [row["beta1"] for row in found["path"]] == [0, 0.25, 0.5, 0.75, 1]
    assert [row["roll"] for row in found["shifts"]] == [False, True]
    for row in found["shifts"]:
        assert 0 <= row["minimum"] <= min(row["synchronised"], row["mean"]) <= 1
    assert [(row["clips"], row["attack"], row["seed"]) for row in found["counts"]] == [
        (clips, name, seed)
        for clips in (8, 16)
        for name in ("flicker", "linf", "sup")
        for seed in (0, 1)
    ]
    shares = [row["fooled"] for row in found["single"] + found["path"]]
    shares += [row[name] for row in found["counts"] for name in ("fitted", "held_out")]
    assert all(0 <= share <= 1 for share in shares)
    assert all(row["thickness"] > 0 for row in found["shifts"] + found["counts"])


def test_figures_are_pictures_of_some_size(folder):
    sizes = {file.stem: Image.open(file).size for file in folder.glob("*.png")}
    names = ("pattern", "universal", "path", "shifts", "counts")
    assert set(sizes) == {f"flicker-{name}" for name in names}
    assert all(width >= 400 and height >= 300 for width, height in sizes.values())
