"""Kill -9 at random moments, start again: what tests of resuming share."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image

from trainers.run.cli.config import FitConfig
from trainers.run.cli.toml import dump, replace_options, with_digest
from trainers.run.folder.claim import LOCK, MARK

ROOT = Path(__file__).parents[2]

# One process imports all modules, then forks a child for each start: a start costs nothing.
DRIVER = """
import json, os, random, signal, sys, time
import augment.transforms.classic, trainers.jobs.attack, trainers.jobs.rounds, trainers.run.session
from trainers.run.main import main

plain, hunted, kills, words = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]

def start(folder):
    child = os.fork()
    if child == 0:
        os._exit(main([*words, "--run-dir", folder]))
    return child

began = time.monotonic()
assert os.waitpid(start(plain), 0)[1] == 0
whole = time.monotonic() - began
random.seed(os.getpid())
struck = 0
for _ in range(kills):
    child = start(hunted)
    time.sleep(random.uniform(0, 1.5 * whole / kills))
    os.kill(child, signal.SIGKILL)
    struck += os.WIFSIGNALED(os.waitpid(child, 0)[1])
assert os.waitpid(start(hunted), 0)[1] == 0
print(json.dumps({"struck": struck}))
"""


class Hunt(NamedTuple):
    """A run nobody disturbed, one that was killed, and how often."""

    plain: Path
    hunted: Path
    struck: int


@pytest.fixture
def hunt(tmp_path: Path) -> Callable[[list[str], int], Hunt]:
    """Return what plays a command line undisturbed, and again with kills."""

    def play(words: list[str], kills: int) -> Hunt:
        plain, hunted = tmp_path / "plain", tmp_path / "hunted"
        done = subprocess.run(
            [sys.executable, "-c", DRIVER, str(plain), str(hunted), str(kills), *words],
            cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return Hunt(plain, hunted, int(json.loads(done.stdout.splitlines()[-1])["struck"]))

    return play


def _strip(value: Any) -> Any:
    if isinstance(value, dict):
        timed = ("seconds", "samples_per_second", "time")
        return {k: _strip(v) for k, v in value.items() if k.rpartition("/")[2] not in timed}
    return [_strip(item) for item in value] if isinstance(value, list) else value


@pytest.fixture
def without_seconds() -> Callable[[Any], Any]:
    """Return what takes measured times out of JSON values."""
    return _strip


ATTACK = {
    "budget": "linf 0.1", "robust_accuracy": 0.7, "robust_accuracy_interval": (0.6, 0.78),
    "success": 0.3, "success_interval": (0.2, 0.4), "attackable": 90, "fooled": 27,
    "median_l2": 0.5, "queries": 20, "seconds": 2.0,
}  # fmt: skip
TOP = [{"class": "cat<b>", "probability": 0.75}, {"class": "dog", "probability": 0.25}]


def _write_run(path: Path, *, eps: float = 0.1, **changes) -> Path:
    """A finished run of `fit`, as far as a report looks at it."""
    config = replace_options(FitConfig(), {"data": "digits", "norm": "linf", "eps": eps})
    (path / "figures").mkdir(parents=True)
    Image.new("RGB", (4, 2)).save(path / "figures/failure-1.png")
    summary = {
        "job": "fit", "samples": 100, "clean_accuracy": 0.9,
        "clean_accuracy_interval": (0.82, 0.95), "attacks": {"pgd": ATTACK}, "worst_case": 0.7,
        "worst_cases": [{"budget": f"linf {eps}", "attacks": ["pgd"], "accuracy": 0.7,
                         "interval": (0.6, 0.78)}],
        "outside_worst_cases": {}, "warnings": ["a <u> b"], "method": "fast",
        "train_budget": "linf 0.1", "kept_epoch": 0, "fitting": {"seconds": 3.0},
        "history": [{"epoch": 0, "accuracy": 0.5, "loss": 1.0}],
        "failures": [{"id": "0007\udcff", "label": "cat<b>", "linf": 0.1, "l2": 0.5, "before": TOP,
                      "after": TOP[::-1], "factor": 5, "picture": "figures/failure-1.png"}],
    } | changes  # fmt: skip
    (path / "config.toml").write_text(with_digest(dump("fit", config)))
    (path / "command.txt").write_text("python train.py fit --seed 0\n--resume it\n")
    (path / "summary.json").write_text(json.dumps(summary))
    (path / "status.json").write_text('{"job": "fit", "state": "finished"}')
    (path / LOCK).write_text(MARK)
    return path


@pytest.fixture
def make_run() -> Callable[..., Path]:
    """Return what writes the folder of a finished run of `fit`, without running one."""
    return _write_run
