"""Reading many image files at once: their common form, and those that are broken."""

import logging
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

from augment.datasets.images import BROKEN, Fit, Frame, ImageFiles, read_frame, read_image, reason

logger = logging.getLogger(__name__)

MOST_MEMORY = 2 * 2**30
DEFAULT_SIZE = 224
PROBES = 64
_WORTH_THREADS = 128 * 128  # smaller images cost less to decode than threads to agree
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def attempt(
    function: Callable[[_Item], _Result], items: Sequence[_Item], *, threads: int = 1
) -> list[_Result | Exception]:
    """Call a function on every item; what a broken file raises takes the result's place."""

    def one(item: _Item) -> _Result | Exception:
        try:
            return function(item)
        except BROKEN as error:
            return error

    if threads == 1:
        return [one(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, items))


def common_fit(paths: Sequence[str], everything: Sequence[str], *, size: int | None) -> Fit:
    """The form for images: colour if any has colour, their own size if they share one.

    Args:
        paths: The files to be read.
        everything: All files of the data folder; some are asked too, so that a small subset
            takes the form of the whole.
        size: Side of the square images, or None for their own size or else 224.

    Returns:
        The form; of broken files nothing is asked.
    """
    probes = everything[:: -(-len(everything) // PROBES) or 1]
    heads = attempt(read_frame, sorted({*paths, *probes}))
    frames = [head for head in heads if isinstance(head, Frame)]
    grey = sum(not frame.colour for frame in frames)
    channels = 1 if grey == len(frames) else 3
    if grey and channels == 3:
        logger.info("%d grey images become RGB", grey)
    sizes = {(frame.height, frame.width) for frame in frames}
    if size is None and len(sizes) == 1:
        return Fit(channels, *sizes.pop())
    if size is None and sizes:
        logger.warning("image sizes differ: cut to %d x %d", DEFAULT_SIZE, DEFAULT_SIZE)
    return Fit(channels, size or DEFAULT_SIZE, size or DEFAULT_SIZE)


def read_files(paths: Sequence[str], fit: Fit) -> tuple[Tensor | ImageFiles, dict[int, str]]:
    """Read image files into memory when they take at most 2 GiB, else read their headers.

    Args:
        paths: The files.
        fit: The form they are brought to.

    Returns:
        Pixels `(N, C, H, W)` uint8 or what reads them, and a line for each row without an image.
    """
    on_demand = ImageFiles(paths, fit)
    if math.prod(on_demand.shape) > MOST_MEMORY:
        return on_demand, _broken(paths, attempt(read_frame, paths))
    pixels = torch.zeros(on_demand.shape, dtype=torch.uint8)  # (N, C, H, W)

    def decode(row: int) -> None:
        pixels[row] = read_image(paths[row], fit)

    threads = 1 if fit.height * fit.width < _WORTH_THREADS else os.cpu_count() or 1
    return pixels, _broken(paths, attempt(decode, range(len(paths)), threads=threads))


def _broken(paths: Sequence[str], results: Sequence[object]) -> dict[int, str]:
    return {
        row: f"{paths[row]}: {reason(result)}"
        for row, result in enumerate(results)
        if isinstance(result, Exception)
    }
