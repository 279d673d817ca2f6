import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).parents[2]
FACTORY = """
from torch import nn

def build(num_classes=6):
    return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, num_classes))
"""
STEPS, PUBLISHED, TARGET = 25, 10, 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two photographs of noise, and a linear classifier of six classes."""
    folder = tmp_path_factory.mktemp("paper")
    (folder / "photos").mkdir()
    random = np.random.default_rng(0)
    for name in ("dog", "car"):
        pixels = random.integers(40, 216, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{name}.png")
    (folder / "tiny.py").write_text(FACTORY)
    (folder / "classes.txt").write_text("".join(f"n{i} class {i}\n" for i in range(6)))
    weights = 0.2 * torch.randn(6, 48, generator=torch.Generator().manual_seed(1))
    save_file({"2.weight": weights, "2.bias": torch.zeros(6)}, folder / "tiny.safetensors")
    return folder


def run(folder, *options):
    command = [
        sys.executable, ROOT / "examples" / "reproduce_paper.py",
        "--photos", folder / "photos", "--model", f"{folder / 'tiny.py'}:build",
        "--weights", folder / "tiny.safetensors", "--classes", folder / "classes.txt",
        "--output", folder / "out", "--size", "32", "--target", f"class {TARGET}",
        "--published-steps", str(PUBLISHED), "--steps", str(STEPS), *options,
    ]  # fmt: skip
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=240)


@pytest.fixture(scope="module")
def done(folder):
    done = run(folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def scores(folder, x_adv):
    """Softmax scores (B, 6) of the tiny classifier, from its weights."""
    weights = load_file(folder / "tiny.safetensors")["2.weight"]  # (6, 48)
    pooled = F.adaptive_avg_pool2d(torch.from_numpy(x_adv), 4)  # (B, 3, 4, 4)
    return (pooled.flatten(1) @ weights.T).softmax(1)


def test_tables_say_what_the_samples_say(folder, done):
    kept = np.load(folder / "out" / "default-eq1.npz")
    before, after = torch.from_numpy(kept["before"]), scores(folder, kept["x_adv"])
    for name, clean, fooled in zip(("car", "dog"), before, after, strict=True):
        five = clean.topk(5).indices
        assert f"| {name} | {clean[five].sum():.4f} | {fooled[five].sum():.4f} | " in done
        assert f"| class {fooled.argmax()} | {fooled.max():.4f} |" in done


def test_second_equation_reaches_its_target(folder, done):
    kept = np.load(folder / "out" / "default-eq2.npz")
    before, after = kept["before"][0, TARGET], scores(folder, kept["x_adv"])[0]
    assert after.argmax() == TARGET
    assert kept["before"].argmax() != TARGET
    assert f"| dog | {before:.4f} | {after[TARGET]:.4f} | yes |" in done


def test_both_equations_and_both_settings(folder, done):
    names = ("default-eq1", "default-eq2", "published-eq1", "published-eq2")
    kept = {name: np.load(folder / "out" / f"{name}.npz") for name in names}
    shapes = [kept[name]["history"].shape for name in names]
    assert shapes == [(STEPS, 2), (STEPS, 1), (PUBLISHED, 2), (PUBLISHED, 1)]
    assert f"## eq. (2), class {TARGET}, published: {PUBLISHED} steps" in done


def test_figures_are_small_pictures(folder, done):
    files = {file.stem: file for file in (folder / "out").glob("*.png")}
    assert set(files) == {f"reproduction-{name}" for name in ("car", "dog", "loss", "target")}
    sizes = {name: Image.open(file).size for name, file in files.items()}
    assert sizes["reproduction-loss"] == (960, 3 * 540)
    assert sizes["reproduction-target"][1] == 2 * sizes["reproduction-dog"][1]
    assert all(file.stat().st_size < 300_000 for file in files.values())


@pytest.mark.slow
def test_only_what_changed_runs_again(folder, done):
    times = {file: file.stat().st_mtime_ns for file in (folder / "out").glob("*.npz")}
    again = run(folder, "--published-steps", "5")
    assert again.returncode == 0, again.stderr
    changed = {file.stem for file, time in times.items() if file.stat().st_mtime_ns != time}
    assert changed == {"published-eq1", "published-eq2"}


def test_unknown_names_are_refused_before_work(folder):
    refused = run(folder, "--source", "wolf", "--output", str(folder / "none"))
    assert refused.returncode == 1
    assert refused.stderr.strip() == "--source is 'wolf'; nearest: dog, car"
    assert not (folder / "none").exists()
