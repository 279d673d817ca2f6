"""x-task with so many bytes a sample: its step is found in few searches, for each takes long."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from compress import Codec, Task
from compress.container import parse
from trainers.rounds import spread

SEARCHED = 96  # samples by which the step is found
TRIALS, CLOSE = 6, 0.02  # how often, and to which logarithm of the ratio of sizes


def task_code(
    codec: Codec,
    x: Tensor,
    model: nn.Module,
    task: Task,
    rate: float,
    *,
    embed_tables: bool = False,
) -> bytes:
    """Return a file of x-task that has about so many bytes a sample, without its head.

    Args:
        codec: the codec.
        x: samples (B, ...).
        model: maps them to logits.
        task: the search.
        rate: bytes a sample.
        embed_tables: see `Codec.encode`.

    Raises:
        ValueError: when no step gives so few or so many.
    """
    encode = partial(codec.encode, kind="x-task", model=model, task=task)
    some = x[spread(len(x), SEARCHED)]
    plain = parse(codec.encode(some, bytes_per_sample=rate)).head.step
    step = found_step(lambda step: payload(encode(some, step=step)), rate, start=plain)
    return encode(x, step=step, embed_tables=embed_tables)


def payload(blob: bytes) -> float:
    """Return the bytes a sample of a code file's chunks."""
    file = parse(blob)
    return sum(end - start for start, end in file.places) / file.head.samples


def found_step(size: Callable[[float], float], rate: float, *, start: float) -> float:
    """Return a step with which samples have nearly so many bytes, in few trials.

    Args:
        size: bytes a sample with a step; each trial is a search of x-task.
        rate: how many they should be.
        start: a step to begin with.

    Raises:
        ValueError: when no step gives so few or so many.
    """
    step, slope, got = start, -1.0, size(start)  # slope: of log(size) over log(step)
    for _ in range(TRIALS):
        if abs(math.log(rate / got)) < CLOSE:
            break
        stride = min(max(math.log(rate / got) / slope, -1.5), 1.5)
        last, step = got, step * math.exp(stride)
        got = size(step)
        slope = min(max(math.log(got / last) / stride, -3.0), -0.3)
    if not 0.9 < got / rate < 1.1:
        raise ValueError(
            f"{rate:g} bytes a sample are out of reach; the nearest found are {got:.1f}"
        )
    return step
