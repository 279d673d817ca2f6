"""The peak memory of one candidate, in a process of its own.

    python -m benchmarks.peak ROW CANDIDATE SUBJECT DEVICE

prints the bytes that one run took on top of what was there. On the CPU it asks Linux.
"""

import os
import subprocess
import sys
from pathlib import Path

import torch

from attacks.guard import frozen
from benchmarks.rows import LIMIT, ROWS, bare, jobs
from benchmarks.subject import Subject

ROOT = Path(__file__).resolve().parents[1]
PROCESS = Path("/proc/self")
# Tensors get pages of their own that go back at once: what is left over elsewhere in the heap
# would differ from run to run.
HEAP = {"MALLOC_MMAP_THRESHOLD_": "65536"}


def available(device: str) -> bool:
    """Return whether peaks can be measured here."""
    return device == "cuda" or (PROCESS / "clear_refs").exists()


def peak_of(row: str, candidate: str, subject: Path, device: str) -> int:
    """Return the bytes from a fresh process."""
    command = [sys.executable, "-m", "benchmarks.peak", row, candidate, str(subject), device]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | HEAP, check=True, stdout=subprocess.PIPE, text=True
    )
    return int(done.stdout.split()[-1])


def grown(row: str, candidate: str, subject: Subject) -> int:
    """Return by how many bytes one run raises the peak above what the process holds before.

    A run on one sample comes first, to import what the candidate needs and set up the kernels.
    """
    run(row, candidate, subject.first(1))
    if subject.x.is_cuda:
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run(row, candidate, subject)
        return torch.cuda.max_memory_allocated() - before
    (PROCESS / "clear_refs").write_text("5")  # the peak begins anew at what is held now
    before = held("VmRSS")
    run(row, candidate, subject)
    return held("VmHWM") - before


def run(row: str, candidate: str, subject: Subject) -> None:
    """Let a candidate attack once, or make one bare pass."""
    with frozen(subject.model):
        if candidate == LIMIT:
            bare(subject, 1)
        else:
            jobs(ROWS[row], subject)[candidate]()


def held(what: str) -> int:
    """Return an entry of this process' status in bytes: VmRSS is now, VmHWM the peak."""
    lines = (PROCESS / "status").read_text().splitlines()
    kib = next(line.split()[1] for line in lines if line.startswith(what))
    return int(kib) * 1024


if __name__ == "__main__":
    row, candidate, file, device = sys.argv[1:]
    print(grown(row, candidate, Subject.load(Path(file), device)))
