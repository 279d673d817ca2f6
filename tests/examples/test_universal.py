import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from attacks import UniversalPerturbation, transfer_matrix
from augment import load_dataset
from trainers import FitOptions, fit_classifier, load_classifier

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "universal.py"
FEW, MANY = 10, 400


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the example writes, in seconds."""
    folder = tmp_path_factory.mktemp("universal")
    command = [
        sys.executable, SCRIPT, "--output", folder, "--counts", str(FEW), str(MANY), "--seeds", "2",
        "--epochs", "2", "--steps", "60", "--passes", "1", "--train-samples", str(MANY),
        "--test-samples", "200", "--models", f"{SCRIPT}:perceptron", "smallcnn", f"{SCRIPT}:resnet",
    ]  # fmt: skip
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    (folder / "out.txt").write_text(done.stdout)
    return folder


def test_both_solvers_are_measured_on_each_number_of_images(folder):
    found = json.loads((folder / "universal.json").read_text())
    rows = {(r["solver"], r["images"], r["set"]): r for r in found["rates"]}
    assert len(rows) == len(found["rates"]) == 2 * 2 * 2
    assert {(images, s) for _, images, s in rows} == {(n, s) for n in (FEW, MANY) for s in (0, 1)}
    assert all(0 <= r["held_out"] <= 1 and 0 <= r["fitted"] <= 1 for r in rows.values())
    assert all(r["held_out"] > 0.3 for (_, images, _), r in rows.items() if images == MANY)


def test_the_matrix_is_of_three_architectures(folder):
    found = json.loads((folder / "universal.json").read_text())
    matrix = torch.tensor(found["transfer"], dtype=torch.float64)
    assert list(found["accuracy"]) == ["perceptron", "smallcnn", "resnet"]
    assert matrix.shape == (3, 3)
    assert (matrix.diagonal() > 0.3).all()
    line = f"| perceptron | {found['accuracy']['perceptron']:.2f} | {matrix[0, 0]:.2f} | "
    assert line in (folder / "out.txt").read_text()


def test_figures_are_pictures_of_some_size(folder):
    sizes = {file.stem: Image.open(file).size for file in folder.glob("*.png")}
    assert set(sizes) == {f"universal-{name}" for name in ("rate", "transfer", "samples")}
    assert all(width >= 400 and height >= 300 for width, height in sizes.values())


def test_on_new_digits_many_images_make_a_better_perturbation_than_few():
    """As many steps for both, so that the images are the only difference."""
    train, test = load_dataset("digits", "train"), load_dataset("digits", "test")
    torch.manual_seed(0)
    model = load_classifier("smallcnn", num_classes=10, in_channels=1)
    fit_classifier(model, train, FitOptions(epochs=5), seed=0)
    held_out = [test.stack(list(range(len(test))))]
    own, new = {}, {}
    for images in (range(FEW), range(FEW, 2 * FEW), range(MANY)):
        x, y = train.stack(list(images))
        loader = list(zip(x.split(32), y.split(32), strict=True))
        options = UniversalPerturbation("l2", 1.5, target_rate=1.0, passes=120 // len(loader))
        fitted = options.fit(model, loader)
        own[images] = max(record["fooling_rate"] for record in fitted.history)
        new[images] = float(transfer_matrix([model], [fitted], held_out))
    many = new.pop(range(MANY))
    assert many > max(new.values()) + 0.05
    assert all(own[images] > rate + 0.1 for images, rate in new.items())  # learned by heart
    assert abs(own[range(MANY)] - many) < 0.1
