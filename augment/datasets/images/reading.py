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

from augment.datasets.images.deep import FULL, Declared, measure_depth, white_level
from augment.datasets.images.form import common_form, spread_evenly
from augment.datasets.images.images import (
    BROKEN,
    ImageFiles,
    ImageForm,
    ImageHeader,
    describe_error,
    read_header,
    read_image,
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


def try_each(
    function: Callable[[_Item], _Result], items: Sequence[_Item], *, threads: int = 1
) -> list[_Result | Exception]:
    """Call a function on every item; the error of a broken file takes the place of its result."""

    def one(item: _Item) -> _Result | Exception:
        try:
            return function(item)
        except BROKEN as error:
            return error

    if threads == 1:
        return [one(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, items))


def common_image_form(
    paths: Sequence[str], everything: Sequence[str], request: Request
) -> ImageForm:
    """Choose the form of images, and log the losses of bringing them to it.

    Args:
        paths: The files to be read.
        everything: The files of all splits; the form is theirs, whatever split is read.
        request: The size and channels wanted.

    Returns:
        The form; of broken files nothing is asked.
    """
    deciding = spread_evenly(everything, MOST_LOOKED_AT)
    seen = _read_headers(deciding)
    others = _read_headers(sorted({*paths} - {*deciding}))
    form = common_form(
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
    return (
        replace(form, white_levels=_measure_white_levels(spread_evenly(deep, MOST_MEASURED)))
        if deep
        else form
    )


def _read_headers(paths: Sequence[str]) -> dict[str, ImageHeader]:
    looks = zip(paths, try_each(read_header, paths), strict=True)
    return {path: frame for path, frame in looks if isinstance(frame, ImageHeader)}


def _measure_white_levels(paths: Sequence[str]) -> dict[Declared, int]:
    """Measure the value that becomes white in deep images, for each number of declared bits."""
    highest: dict[Declared, int] = {}
    for found in try_each(measure_depth, paths):
        if not isinstance(found, Exception):
            declared, high = found
            highest[declared] = max(high, highest.get(declared, 0))
    white_levels = {declared: white_level(declared, high) for declared, high in highest.items()}
    for declared, top in white_levels.items():
        if top < FULL:
            told = f"declare {declared} bits" if declared else "do not say how many bits they use"
            logger.warning(
                "images of 16 bits a channel %s, and go up to %d: %d becomes white; an sBIT chunk "
                "(PNG) or MaxSampleValue (TIFF) says otherwise",
                told,
                highest[declared],
                top,
            )
    return white_levels


def read_files(paths: Sequence[str], form: ImageForm) -> tuple[Tensor | ImageFiles, dict[int, str]]:
    """Read image files into memory when they take at most 2 GiB, else read their headers.

    Args:
        paths: The files.
        form: The form of the pixels.

    Returns:
        Pixels `(N, C, H, W)` uint8 or their source, and a line for each row without an image.
    """
    on_demand = ImageFiles(paths, form)
    if math.prod(on_demand.shape) > MOST_MEMORY:
        return on_demand, _describe_broken(paths, try_each(read_header, paths))
    pixels = torch.zeros(on_demand.shape, dtype=torch.uint8)  # (N, C, H, W)

    def decode(row: int) -> None:
        pixels[row] = read_image(paths[row], form)

    threads = 1 if form.height * form.width < _WORTH_THREADS else os.cpu_count() or 1
    return pixels, _describe_broken(paths, try_each(decode, range(len(paths)), threads=threads))


def _describe_broken(paths: Sequence[str], results: Sequence[object]) -> dict[int, str]:
    return {
        row: f"{paths[row]}: {describe_error(result)}"
        for row, result in enumerate(results)
        if isinstance(result, Exception)
    }
