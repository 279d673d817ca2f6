"""Time candidates in turn, say what they found, and how much memory one takes."""

import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from attacks.attack import lengths
from attacks.common.frozen import frozen
from benchmarks.candidates import LIMIT, OURS, Job, Row, bare, jobs
from benchmarks.subject import Subject
from trainers import predict

Clock = Literal["wall", "cpu"]
Record = dict[str, Any]
LIBRARIES = ("torch", "torchattacks", "foolbox", "adversarial-robustness-toolbox")
PROCESS = Path("/proc/self")


def compare(
    candidates: Mapping[str, Job], subject: Subject, *, rounds: int, warm_up: bool, clock: Clock
) -> dict[str, Record]:
    """Run every candidate in turn, round after round, so that all meet the same machine.

    Args:
        candidates: what to time, by name; OURS and LIMIT among them.
        subject: what they attack; its parameters are constant meanwhile, which spares the peers
            that ask for all gradients those of the weights.
        rounds: how many are timed.
        warm_up: run one more before, that does not count.
        clock: "wall", or "cpu" for the processor time of all threads, which on a busy machine
            is the steadier one.

    Returns:
        For each: "seconds" until it is known who is fooled and "unjudged" without the pass that
        some libraries leave to the caller, of each round; the medians over the rounds of
        "of limit" and "ours / it", quotients of seconds; and what `found` says.
    """
    taken: dict[str, Record] = {name: {"seconds": [], "unjudged": []} for name in candidates}
    with frozen(subject.model):
        for number in range(rounds + warm_up):
            for name, job in candidates.items():
                x_adv, unjudged, seconds = timed(job, subject, clock)
                if number == 0 and name != LIMIT:
                    taken[name] |= found(subject, x_adv)
                if number >= warm_up:
                    taken[name]["seconds"].append(seconds)
                    taken[name]["unjudged"].append(unjudged)
    limit, ours = taken[LIMIT]["seconds"], taken[OURS]["seconds"]
    for record in taken.values():
        record["of limit"] = typical_ratio(record["seconds"], limit)
        record["ours / it"] = typical_ratio(ours, record["seconds"])
    return taken


def typical_ratio(above: list[float], below: list[float]) -> float:
    """Return the median of the ratios of each round."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def clock_of(clock: Clock) -> Callable[[], float]:
    """Return the function that tells the time in seconds."""
    return time.perf_counter if clock == "wall" else time.process_time


def timed(job: Job, subject: Subject, clock: Clock) -> tuple[Tensor, float, float]:
    """Return x_adv, the seconds until it is there, and until it is known who is fooled."""
    now = clock_of(clock)
    start = now()
    x_adv, fooled = job()
    there = _finished(x_adv, now) - start
    if fooled is None:
        fooled = predict(subject.model, x_adv).argmax(1) != subject.y
        return x_adv, there, _finished(fooled, now) - start
    return x_adv, there, there


def _finished(tensor: Tensor, now: Any) -> float:
    """Return the time, when a tensor is computed."""
    if tensor.is_cuda:
        torch.cuda.synchronize()
    return float(now())


def found(subject: Subject, x_adv: Tensor) -> Record:
    """Return the success and the median l2 norm of x_adv, failures counting as infinite."""
    fooled = predict(subject.model, x_adv).argmax(1) != subject.y
    size = lengths(x_adv - subject.x, "l2").masked_fill(~fooled, torch.inf)
    return {"success": fooled.float().mean().item(), "median l2": size.median().item()}


def machine(device: str) -> Record:
    """Return what ran where and when."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "date": date.today().isoformat(),
        "device": torch.cuda.get_device_name() if device == "cuda" else platform.machine(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": versions,
    }


def peak(row: Row, name: str, subject: Subject) -> int:
    """Return by how many bytes one run of a candidate raises the peak, in a process of its own."""
    # Tensors get pages of their own that go back at once: what is left over elsewhere in the
    # heap would differ from run to run.
    os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_grown, row, name, subject.device, subject.to("cpu")).result()


def peaks_are_known(device: str) -> bool:
    """Return whether peaks can be measured here: on GPUs, and on the CPU under Linux."""
    return device == "cuda" or (PROCESS / "clear_refs").exists()


def _grown(row: Row, name: str, device: str, subject: Subject) -> int:
    subject = subject.to(device)
    _run(row, name, subject.first(1))  # imports what it needs, and sets up the kernels
    if device == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        _run(row, name, subject)
        return torch.cuda.max_memory_allocated() - before
    (PROCESS / "clear_refs").write_text("5")  # the peak begins anew at what is held now
    before = _held("VmRSS")
    _run(row, name, subject)
    return _held("VmHWM") - before


def _run(row: Row, name: str, subject: Subject) -> None:
    """Attack once, or make one bare pass."""
    with frozen(subject.model):
        if name == LIMIT:
            bare(subject, 1)
        else:
            jobs(row, subject)[name]()


def _held(what: str) -> int:
    """Return an entry of this process' status in bytes: VmRSS is now, VmHWM the peak."""
    lines = (PROCESS / "status").read_text().splitlines()
    kib = next(line.split()[1] for line in lines if line.startswith(what))
    return int(kib) * 1024
