"""Files that are there whole or not at all."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from attacks import Architecture, load_generators, save_generators
from attacks.files import sweep, write_bytes, write_partial

ARCHITECTURE = Architecture(channels=1, blocks=1, layers=1)


def generators(value):
    return torch.full((2, *ARCHITECTURE.shape), value)


@pytest.fixture
def full_disk(monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    return lambda: monkeypatch.setattr(os, "fsync", full)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, full_disk):
    write_bytes(tmp_path / "file", b"old")
    full_disk()
    with pytest.raises(OSError, match="No space"):
        write_bytes(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_generators_that_cannot_be_saved_leave_the_old_ones(tmp_path, full_disk):
    path = tmp_path / "g.safetensors"
    save_generators(path, generators(1.0), architecture=ARCHITECTURE)
    full_disk()
    with pytest.raises(OSError, match="No space"):
        save_generators(path, generators(2.0), architecture=ARCHITECTURE)
    assert torch.equal(load_generators(path)[0], generators(1.0))
    assert os.listdir(tmp_path) == ["g.safetensors"]


def test_a_killed_write_leaves_the_old_file(tmp_path):
    file = tmp_path / "f"
    write_bytes(file, b"old")
    code = f"""
import os, signal
from pathlib import Path
from attacks.files import write_bytes
os.replace = lambda *a: os.kill(os.getpid(), signal.SIGKILL)
write_bytes(Path({str(file)!r}), b"new")
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == -signal.SIGKILL
    assert file.read_bytes() == b"old"
    assert len(os.listdir(tmp_path)) == 2
    sweep(tmp_path)
    assert os.listdir(tmp_path) == ["f"]


def test_two_writers_of_one_file_do_not_share_a_partial_one(tmp_path):
    assert write_partial(tmp_path / "f", b"1") != write_partial(tmp_path / "f", b"2")


def test_a_file_is_as_readable_as_others_made_here(tmp_path):
    (tmp_path / "plain").touch()
    write_bytes(tmp_path / "f", b"")
    assert (tmp_path / "f").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_sweep_removes_only_partial_files_of_these_names(tmp_path):
    folder = tmp_path / "sub"
    folder.mkdir()
    kept = folder / "x.partial"
    kept.touch()
    one, other = write_partial(folder / "one.a", b""), write_partial(folder / "other.a", b"")
    sweep(tmp_path, "one.*")
    assert sorted(folder.iterdir()) == sorted([kept, other])
    sweep(tmp_path)
    assert list(folder.iterdir()) == [kept]
    assert not one.exists()
