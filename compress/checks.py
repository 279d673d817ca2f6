"""Checks of samples, steps and numbers, against what a file can hold."""

import math
from collections.abc import Sequence
from numbers import Real

import torch
from torch import Tensor

MAX_SAMPLES, MAX_CHANNELS, MAX_LEVELS = 2**24, 64, 16
MAX_FRAMES, MAX_SIDE = 4096, 16384
MAX_SAMPLE = 2**27
STEP_RANGE = (1e-5, 1e4)
# All chunks of a file but the last hold so many values, or one sample.
LEAST_CHUNK = 2**20
_LAYOUTS = "(B, C, H, W) or (B, C, T, H, W)"


def check_tensor(name: str, x: object) -> Tensor:
    """Check that an argument is a dense floating tensor of images or videos, and return it.

    Args:
        name: of the argument, for messages.
        x: the argument.

    Raises:
        ValueError: for anything else.
    """
    if not isinstance(x, Tensor):
        how = "torch.from_numpy(x)" if hasattr(x, "__array_interface__") else "torch.tensor(x)"
        raise ValueError(
            f"{name} is {type(x).__name__}; give a tensor {_LAYOUTS}, floating and in [0, 1]: "
            f"{how}, and of bytes .float() / 255"
        )
    if x.is_meta or x.layout != torch.strided or x.is_quantized:
        kind = "meta" if x.is_meta else str(x.layout)
        raise ValueError(f"{name} is a {kind} tensor; give one that is dense and in memory")
    if x.ndim not in (4, 5) or not x.is_floating_point() or not x.numel():
        more = ": of bytes, x.float() / 255" if x.dtype == torch.uint8 else ""
        raise ValueError(
            f"{name} is {x.dtype} of shape {tuple(x.shape)}; give floating {_LAYOUTS}, "
            f"none of them 0{more}"
        )
    return x


def check_samples(name: str, x: object) -> None:
    """Check that a tensor holds samples in [0, 1], and no more than a file can hold.

    Raises:
        ValueError: for other values, or too many.
    """
    x = check_tensor(name, x)
    if text := describe_excess(len(x), x.shape[1:]):
        raise ValueError(f"{name} has {tuple(x.shape)}; {text}")
    low, high = (value.item() for value in torch.aminmax(x.detach()))
    if not (low >= -1e-4 and high <= 1 + 1e-4):
        raise ValueError(f"{name} reaches from {low:.4g} to {high:.4g}; samples are in [0, 1]")


def check_step(step: object) -> float:
    """Check a quantiser step against the range that a file can store, and return it.

    Raises:
        ValueError: for a step out of range.
    """
    low, high = STEP_RANGE
    if not is_number(step) or not low <= float(step) <= high:  # type: ignore[arg-type]
        raise ValueError(
            f"step is {step}; give a number from {low:g} (finer ones are lost in float32) to "
            f"{high:g}"
        )
    return float(step)  # type: ignore[arg-type]


def is_number(value: object) -> bool:
    """Tell whether a value is one finite real number, and no truth value."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def volume(shape: Sequence[int]) -> tuple[int, int, int, int]:
    """Return the shape of a sample, (C, H, W) or (C, T, H, W), as (C, T, H, W)."""
    c, *rest = shape
    t, h, w = rest if len(rest) == 3 else (1, *rest)
    return c, t, h, w


def describe_excess(samples: int, shape: Sequence[int]) -> str | None:
    """Describe which size of a batch exceeds its limit, or return None.

    Args:
        samples: how many.
        shape: of a sample, (C, H, W) or (C, T, H, W).

    >>> describe_excess(2, (65, 8, 8))
    'channels: 65; allowed: 1 to 64'
    """
    c, t, h, w = volume(shape)
    return describe_outside(
        ("samples", samples, 1, MAX_SAMPLES),
        ("channels", c, 1, MAX_CHANNELS),
        ("frames", t, 1, MAX_FRAMES),
        ("height", h, 1, MAX_SIDE),
        ("width", w, 1, MAX_SIDE),
        ("values of a sample", c * t * h * w, 1, MAX_SAMPLE),
    )


def describe_outside(*ranges: tuple[str, int, int, int]) -> str | None:
    """Describe the first (name, value, least, most) whose value is out of range, or return None."""
    for name, value, least, most in ranges:
        if not least <= value <= most:
            return f"{name}: {value}; allowed: {least} to {most}"
    return None
