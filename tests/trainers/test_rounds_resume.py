"""Kill -9 at random moments, start again: the end is that of a run nobody disturbed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
WORDS = [
    "rounds", "--smoke", "--threads", "1", "--rounds", "2", "--patience", "0",
    "--train-samples", "80", "--test-samples", "40", "--batch-size", "16", "--epochs", "3",
    "--retrain-epochs", "2", "--attacks", "pgd", "generator:steps=3",
    "--attack-samples", "pgd=32", "generator=16",
    "--test-attacks", "pgd:steps=5", "--augmentation", "classic",
]  # fmt: skip

# One process imports all modules, then forks a child for each start: a start costs nothing.
DRIVER = """
import json, os, random, signal, sys, time
import augment.classic, trainers.rounds, trainers.run.session
from trainers.run.cli import main

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


def without_seconds(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: without_seconds(v) for k, v in value.items() if k not in ("seconds", "time")}
    return [without_seconds(item) for item in value] if isinstance(value, list) else value


def outcome(folder: Path) -> dict[str, Any]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    bank = sorted((folder / "bank").glob("*.safetensors"))
    checkpoints = sorted(folder.glob("checkpoints/**/*.safetensors"))
    return {
        "summary": without_seconds(json.loads((folder / "summary.json").read_text())),
        "metrics": without_seconds([json.loads(line) for line in lines]),
        "files": {file.name: file.read_bytes() for file in [*bank, *checkpoints]},
        "pictures": {file.name: file.read_bytes() for file in folder.glob("figures/*.png")},
    }


def hunt(tmp_path: Path, kills: int) -> int:
    plain, hunted = tmp_path / "plain", tmp_path / "hunted"
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(plain), str(hunted), str(kills), *WORDS],
        cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    expected, got = outcome(plain), outcome(hunted)
    assert len(expected["summary"]["rounds"]) == 3
    assert "round-002.safetensors" in expected["files"]
    for part, value in expected.items():
        assert got[part] == value, part
    return int(json.loads(done.stdout.splitlines()[-1])["struck"])


@pytest.mark.multiprocess
def test_three_kills_change_nothing(tmp_path: Path) -> None:
    assert hunt(tmp_path, kills=3) >= 1


@pytest.mark.slow
@pytest.mark.multiprocess
def test_twenty_kills_change_nothing(tmp_path: Path) -> None:
    assert hunt(tmp_path, kills=20) >= 10


def start(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "train.py", *words], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.mark.multiprocess
def test_interrupt_then_a_second_process_then_resume(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    long = [*WORDS, "--epochs", "5000", "--run-dir", str(folder)]
    first = start(*long)
    assert first.stdout
    while not (folder / "checkpoints" / "running.safetensors").exists():
        assert first.poll() is None, first.communicate()
    second = start(*long)
    _, errors = second.communicate()
    assert second.returncode == 2
    assert "another process works in" in errors
    first.send_signal(signal.SIGINT)
    _, errors = first.communicate()
    assert first.returncode == 130
    assert errors == "train.py: stopped by SIGINT; what was finished is saved\n"
    status = json.loads((folder / "status.json").read_text())
    assert (status["state"], status["exit"]) == ("interrupted", 130)
    assert status["stage"] == "round 0: fit"
