"""Names of the common corruptions on the command line."""

from collections.abc import Sequence
from typing import Literal, get_args

CorruptionName = Literal[
    "none", "all",
    "gaussian_noise", "shot_noise", "impulse_noise",
    "defocus_blur", "glass_blur", "motion_blur", "zoom_blur",
    "snow", "frost", "fog", "brightness",
    "contrast", "elastic_transform", "pixelate", "jpeg_compression",
]  # fmt: skip
Severity = Literal[1, 2, 3, 4, 5]


def corruption_names(chosen: Sequence[CorruptionName]) -> list[str]:
    """Return which corruptions are meant, each once, in the order they were given.

    >>> corruption_names(["fog", "snow", "fog"]), len(corruption_names(["all"]))
    (['fog', 'snow'], 15)

    Raises:
        ValueError: none or all is given beside others.
    """
    names = list(dict.fromkeys(chosen))
    for word in ("none", "all"):
        if word in names and len(names) > 1:
            raise ValueError(
                f"--corruptions is {' '.join(names)}; give {word} alone, or leave it out"
            )
    if "all" in names:
        return [name for name in get_args(CorruptionName) if name not in ("none", "all")]
    return [name for name in names if name != "none"]
