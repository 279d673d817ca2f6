"""Size limits of what is encoded and decoded."""

from collections.abc import Sequence

MAX_SAMPLES, MAX_CHANNELS, MAX_LEVELS = 2**24, 64, 16
MAX_FRAMES, MAX_SIDE = 4096, 16384
MAX_SAMPLE = 2**27
STEP_RANGE = (1e-5, 1e4)
# All chunks of a file but the last hold so many values, or one sample.
LEAST_CHUNK = 2**20


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
