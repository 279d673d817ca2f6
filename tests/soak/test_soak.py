"""Kills and damage: a few of each in the slow suite, as many as SOAK_COUNT says by hand."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SEED, COUNT = os.environ.get("SOAK_SEED", "0"), os.environ.get("SOAK_COUNT")


def played(script: str, folder: Path, flag: str, count: str) -> None:
    """Play a script in a process of its own, for it forks."""
    words = ["-m", f"tests.soak.{script}", str(folder), flag, count, "--seed", SEED]
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    sys.stdout.write(done.stdout)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.multiprocess
@pytest.mark.timeout(1800)
def test_every_job_survives_a_kill(tmp_path: Path) -> None:
    played("kills", tmp_path / "kills", "--kills", "19")


@pytest.mark.slow
@pytest.mark.multiprocess
@pytest.mark.timeout(1800)
def test_damage_is_refused_or_mended(tmp_path: Path) -> None:
    played("damage", tmp_path / "damage", "--count", "40")


@pytest.mark.soak
@pytest.mark.timeout(100_000)
def test_many_kills_change_nothing(tmp_path: Path) -> None:
    played("kills", tmp_path / "kills", "--kills", COUNT or "200")


@pytest.mark.soak
@pytest.mark.timeout(100_000)
def test_much_damage_is_refused_or_mended(tmp_path: Path) -> None:
    played("damage", tmp_path / "damage", "--count", COUNT or "5000")
