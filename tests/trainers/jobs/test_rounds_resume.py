"""Kill -9 at random moments, start again: the end is that of a run nobody disturbed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
WORDS = [
    "rounds", "--smoke", "--threads", "1", "--rounds", "2", "--patience", "0",
    "--train-samples", "80", "--test-samples", "40", "--batch-size", "16", "--epochs", "3",
    "--retrain-epochs", "2", "--attacks", "pgd", "generator:steps=3",
    "--attack-samples", "pgd=32", "generator=16",
    "--test-attacks", "pgd:steps=5", "--augmentation", "classic",
]  # fmt: skip

Strip = Callable[[Any], Any]


def outcome(folder: Path, without_seconds: Strip) -> dict[str, Any]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    bank = sorted((folder / "bank").glob("*.safetensors"))
    checkpoints = sorted(folder.glob("checkpoints/**/*.safetensors"))
    return {
        "summary": without_seconds(json.loads((folder / "summary.json").read_text())),
        "metrics": without_seconds([json.loads(line) for line in lines]),
        "files": {file.name: file.read_bytes() for file in [*bank, *checkpoints]},
        "pictures": {file.name: file.read_bytes() for file in folder.glob("figures/*.png")},
    }


def survived(found: Any, without_seconds: Strip) -> int:
    """Check that the killed run ended like the other; return how often it was killed."""
    expected, got = (outcome(f, without_seconds) for f in (found.plain, found.hunted))
    assert len(expected["summary"]["rounds"]) == 3
    assert "round-002.safetensors" in expected["files"]
    for part, value in expected.items():
        assert got[part] == value, part
    return int(found.struck)


@pytest.mark.multiprocess
@pytest.mark.slow
def test_three_kills_change_nothing(hunt: Any, without_seconds: Strip) -> None:
    assert survived(hunt(WORDS, 3), without_seconds) >= 1


@pytest.mark.slow
@pytest.mark.multiprocess
def test_twenty_kills_change_nothing(hunt: Any, without_seconds: Strip) -> None:
    assert survived(hunt(WORDS, 20), without_seconds) >= 10


def start(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "train.py", *words], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.mark.multiprocess
@pytest.mark.slow
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
