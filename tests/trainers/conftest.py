"""Kill -9 at random moments, start again: what tests of resuming share."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

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
