"""`moving-digits`, the embedded videos: real digits that move; the label is the motion."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from attacks.common.randomness import generator_for
from augment.dataset import Dataset
from augment.datasets.arrays.arrays import class_names
from augment.datasets.arrays.digits import load_sixteenths, split_rows
from augment.datasets.request import Request

SIDE = 16  # of the canvas, which is a torus: what leaves on one side enters on the other
RADIUS = 3
_Place = tuple[int, int]


def _orbit(step: int) -> _Place:
    """Compute the place (down, right) on a circle after some steps of 1/16 turn, clockwise."""
    angle = 2 * math.pi * step / SIDE
    return round(-RADIUS * math.cos(angle)), round(RADIUS * math.sin(angle))


# Pixels (down, right) from the start after so many steps. All come back after 16 steps.
MOTIONS: dict[str, Callable[[int], _Place]] = {
    "left": lambda step: (0, -step),
    "right": lambda step: (0, step),
    "up": lambda step: (-step, 0),
    "down": lambda step: (step, 0),
    "clockwise": _orbit,
    "counter-clockwise": lambda step: _orbit(-step),
}


def read_moving_digits(request: Request) -> Dataset:
    """Read one split of 1797 clips: each of scikit-learn's digits in motion, split as `digits`.

    A digit starts anywhere with equal chance and the canvas wraps around, so every frame of
    every motion shows it anywhere with equal chance: one frame says nothing about the class. A
    motion runs through the same frames as its opposite, in the opposite order.

    Args:
        request: `frames` and `stride` say how many frames a clip has, and how many steps of the
            motion lie between them.

    Raises:
        ValueError: Something stands after `moving-digits:`, or several clips of a digit are asked.
    """
    if request.target:
        raise ValueError(
            f"moving-digits:{request.target}: moving-digits takes no folder; write `moving-digits`"
        )
    if request.clips > 1:
        raise ValueError(
            f"moving-digits: clips={request.clips}; a digit has one clip: leave it out"
        )
    images, labels = load_sixteenths()
    digits = (images * 255 / 16).round().to(torch.uint8)  # (1797, 8, 8)
    rows = split_rows(labels)
    motion = torch.empty(len(digits), dtype=torch.int64)  # (1797,) the class of each clip
    for split, members in rows.items():
        order = torch.randperm(len(members), generator=generator_for(0, "moving-digits", split))
        motion[members] = order % len(MOTIONS)
    generator = generator_for(0, "moving-digits", "starts")
    starts = torch.randint(SIDE, (len(digits), 2), generator=generator)
    steps = [frame * request.stride for frame in range(request.frames or 16)]
    chosen = torch.tensor(rows[request.split])
    return Dataset(
        _render_clips(digits[chosen], motion[chosen], starts[chosen], steps),
        motion[chosen],
        [f"{i:04d}" for i in chosen.tolist()],
        name="moving-digits",
        classes=class_names(request, highest=len(MOTIONS) - 1, known=list(MOTIONS)),
    )


def _render_clips(digits: Tensor, motion: Tensor, starts: Tensor, steps: list[int]) -> Tensor:
    """Render clips `(N, 1, T, 16, 16)` uint8 of digits `(N, h, w)`; starts `(N, 2)` down, right."""
    places = [[move(step) for step in steps] for move in MOTIONS.values()]  # (K, T, 2)
    at = starts[:, None] + torch.tensor(places)[motion]  # (N, T, 2)
    height, width = digits.shape[1:]
    down = (at[..., 0, None] + torch.arange(height)) % SIDE  # (N, T, h)
    right = (at[..., 1, None] + torch.arange(width)) % SIDE  # (N, T, w)
    clips = torch.zeros(len(digits), len(steps), SIDE, SIDE, dtype=torch.uint8)  # (N, T, 16, 16)
    clip, frame = torch.arange(len(digits)), torch.arange(len(steps))
    clips[clip[:, None, None, None], frame[:, None, None], down[..., None], right[:, :, None]] = (
        digits[:, None].expand(-1, len(steps), -1, -1)
    )
    return clips[:, None]  # (N, 1, T, 16, 16)
