"""Time candidates in turn, and say what they found."""

import platform
import statistics
import time
from collections.abc import Mapping
from datetime import date
from importlib import metadata
from typing import Any, Literal

import torch
from torch import Tensor

from attacks.guard import frozen
from attacks.threat import lengths
from benchmarks.rows import LIMIT, Job
from benchmarks.subject import Subject
from trainers import predict

Clock = Literal["wall", "cpu"]
Record = dict[str, Any]
LIBRARIES = ("torch", "torchattacks", "foolbox", "adversarial-robustness-toolbox")


def compare(
    jobs: Mapping[str, Job], subject: Subject, *, rounds: int, warm_up: bool, clock: Clock
) -> dict[str, Record]:
    """Run every job in turn, round after round, so that all meet the same machine.

    Args:
        jobs: what to time, by name; ratios are to the first.
        subject: what they attack; its parameters are constant meanwhile, which spares the peers
            that ask for all gradients those of the weights.
        rounds: how many are timed.
        warm_up: run one more before, that does not count.
        clock: "wall", or "cpu" for the processor time of all threads, which on a busy machine
            is the steadier one. Ratios are medians of those of each round.

    Returns:
        For each job "wall" and "cpu" (rounds), "ratio", and what `found` says.
    """
    taken: dict[str, Record] = {name: {"wall": [], "cpu": []} for name in jobs}
    with frozen(subject.model):
        for number in range(rounds + warm_up):
            for name, job in jobs.items():
                x_adv, seconds = timed(job)
                if number == 0 and name != LIMIT:
                    taken[name] |= found(subject, x_adv)
                if number >= warm_up:
                    for kind, value in seconds.items():
                        taken[name][kind].append(value)
    first = next(iter(taken.values()))[clock]
    for record in taken.values():
        pairs = zip(record[clock], first, strict=True)
        record["ratio"] = statistics.median(own / ours for own, ours in pairs)
    return taken


def timed(job: Job) -> tuple[Tensor, dict[str, float]]:
    """Return what one run gives and its seconds on both clocks."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = job()
    if result.is_cuda:
        torch.cuda.synchronize()
    return result, {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def found(subject: Subject, x_adv: Tensor) -> Record:
    """Return the success and the median norms of x_adv, failures counting as infinite."""
    fooled = predict(subject.model, x_adv).argmax(1) != subject.y
    delta = x_adv - subject.x
    sizes = {norm: lengths(delta, norm).masked_fill(~fooled, torch.inf) for norm in ("l2", "linf")}
    medians = {f"median_{norm}": size.median().item() for norm, size in sizes.items()}
    return {"success": fooled.float().mean().item(), **medians}


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
