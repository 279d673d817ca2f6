"""Reading many image files at once: their common form, and those that are broken."""

import logging
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from augment.datasets.images.deep import FULL, Declared, measure, top_of
from augment.datasets.images.form import common_form, spread_evenly
from augment.datasets.images.images import (
    BROKEN,
    Fit,
    Frame,
    ImageFiles,
    read_frame,
    read_image,
    reason,
)
from augment.datasets.request import Request

logger = logging.getLogger(__name__)

MOST_MEMORY = 2 * 2**30
DEFAULT_SIZE = 224
MOST_LOOKED_AT = 2**14  # files whose headers decide on the form
MOST_MEASURED = 2**10  # files of 16 bits whose values decide on what is white
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


def common_fit(paths: Sequence[str], everything: Sequence[str], request: Request) -> Fit:
    """The form for images, and a word on what it does not keep.

    Args:
        paths: The files to be read.
        everything: The files of all splits; the form is theirs, whatever split is read.
        request: The size and channels wanted.

    Returns:
        The form; of broken files nothing is asked.
    """
    deciding = spread_evenly(everything, MOST_LOOKED_AT)
    seen = _looks(deciding)
    others = _looks(sorted({*paths} - {*deciding}))
    fit = common_form(
        [*seen.values()], [*others.values()], request, default=DEFAULT_SIZE, kind="image"
    )
    every = seen | others
    for what, count in (
        ("have an alpha channel; it is dropped", sum(frame.alpha for frame in every.values())),
        ("hold several pictures; the first is read", sum(f.several for f in every.values())),
    ):
        if count:
            logger.warning("%d of %d images %s", count, len(every), what)
    deep = [path for path, frame in seen.items() if frame.deep]
    return replace(fit, tops=_tops(spread_evenly(deep, MOST_MEASURED))) if deep else fit


def _looks(paths: Sequence[str]) -> dict[str, Frame]:
    looks = zip(paths, attempt(read_frame, paths), strict=True)
    return {path: frame for path, frame in looks if isinstance(frame, Frame)}


def _tops(paths: Sequence[str]) -> dict[Declared, int]:
    """What becomes white in images of more than 8 bits, for each number of bits they declare."""
    highest: dict[Declared, int] = {}
    for found in attempt(measure, paths):
        if not isinstance(found, Exception):
            declared, high = found
            highest[declared] = max(high, highest.get(declared, 0))
    tops = {declared: top_of(declared, high) for declared, high in highest.items()}
    for declared, top in tops.items():
        if top < FULL:
            told = f"declare {declared} bits" if declared else "do not say how many bits they use"
            logger.warning(
                "images of 16 bits a channel %s, and go up to %d: %d becomes white; an sBIT chunk "
                "(PNG) or MaxSampleValue (TIFF) says otherwise",
                told,
                highest[declared],
                top,
            )
    return tops


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
