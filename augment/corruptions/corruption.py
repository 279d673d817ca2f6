"""A common corruption: a function of a batch and a severity from 1 to 5."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

import torch
from torch import Tensor

from attacks.common.randomness import generator_for, ids_of

Benchmark = Literal["cifar10-c", "imagenet-c"]
Generators = Sequence[torch.Generator]  # one a sample, on the CPU
Level = TypeVar("Level")
SEVERITIES = (1, 2, 3, 4, 5)
SMALL = 64  # pixels of the shorter side up to which the parameters are those of CIFAR-10-C
RANGE_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Corruption:
    """A corruption with the parameters of both benchmarks.

    Attributes:
        name: As in the benchmarks, such as `gaussian_noise`.
        levels: By benchmark the parameters of severities 1 to 5.
        apply: Given clips `(B, T, C, H, W)` in [0, 1], of images with T = 1, the parameters of a
            severity and a generator for each of the B, returns corrupted ones; wrapped by
            `corruption`.
    """

    name: str
    levels: dict[Benchmark, Sequence[Any]]
    apply: Callable[[Tensor, Any, Generators], Tensor]

    def __call__(
        self,
        x: Tensor,
        *,
        severity: int,
        seed: int = 0,
        sample_ids: Sequence[int] | Tensor | None = None,
        benchmark: Benchmark | None = None,
    ) -> Tensor:
        """Corrupt a batch; a sample's result depends on nothing else in it.

        Args:
            x: `(B, C, H, W)` or `(B, C, T, H, W)` float32 in [0, 1] with C 1 or 3, on any device.
            severity: 1 to 5.
            seed: With the corruption, the severity and a sample's id, fixes its random numbers.
            sample_ids: B integers; None hashes each sample's content.
            benchmark: Whose parameters; None takes those of `benchmark_for`.

        Returns:
            A new batch like x, in [0, 1]. Its values are not rounded to bytes.

        Raises:
            ValueError: x is no such batch, or the severity or the benchmark is none.
        """
        _check(x, severity, benchmark)
        level = self.levels[benchmark or benchmark_for(x.shape)][severity - 1]
        ids = ids_of(x, sample_ids)
        generators = [generator_for(seed, "corruption", self.name, severity, i) for i in ids]
        clips = x[:, None] if x.ndim == 4 else x.movedim(2, 1)  # (B, T, C, H, W)
        with torch.no_grad():
            out = self.apply(clips, level, generators).clamp(0, 1) if len(x) else clips.clone()
        return out[:, 0] if x.ndim == 4 else out.movedim(1, 2).contiguous()


def corruption(
    *, cifar10_c: Sequence[Level], imagenet_c: Sequence[Level]
) -> Callable[[Callable[[Tensor, Level, Generators], Tensor]], Corruption]:
    """Make a `Corruption` of its function, by the parameters of severities 1 to 5."""
    levels: dict[Benchmark, Sequence[Any]] = {"cifar10-c": cifar10_c, "imagenet-c": imagenet_c}
    return lambda apply: Corruption(apply.__name__, levels, apply)


def benchmark_for(shape: Sequence[int]) -> Benchmark:
    """Choose the benchmark whose parameters suit samples of a shape (..., H, W).

    >>> benchmark_for((3, 32, 32)), benchmark_for((3, 224, 320))
    ('cifar10-c', 'imagenet-c')
    """
    return "cifar10-c" if min(shape[-2:]) <= SMALL else "imagenet-c"


def _check(x: Tensor, severity: int, benchmark: str | None) -> None:
    """Refuse what is no batch of images or videos, and parameters that there are not."""
    if x.ndim not in (4, 5) or x.shape[1] not in (1, 3) or 0 in x.shape[1:]:
        raise ValueError(
            f"x has shape {tuple(x.shape)}; give (B, C, H, W) or (B, C, T, H, W) with C 1 or 3"
        )
    if x.dtype != torch.float32:
        raise ValueError(f"x is {x.dtype}; give float32 in [0, 1]")
    if type(severity) is not int or severity not in SEVERITIES:
        raise ValueError(f"severity is {severity!r}; allowed: {', '.join(map(str, SEVERITIES))}")
    if benchmark not in (None, *get_args(Benchmark)):
        allowed = ", ".join(get_args(Benchmark))
        raise ValueError(f"benchmark is {benchmark!r}; allowed: {allowed}, or None by size")
    low, high = (float(end) for end in x.aminmax()) if len(x) else (0.0, 1.0)
    if not (low >= -RANGE_TOLERANCE and high <= 1 + RANGE_TOLERANCE):  # NaN fails too
        raise ValueError(
            f"x has values from {low:g} to {high:g}; give pixels in [0, 1], and put what "
            "normalises them into the model (trainers.models.Normalize)"
        )
