"""The one form that all samples of a data folder are brought to, whatever split they are of."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from augment.datasets.broken import try_each
from augment.datasets.images.deep import FULL, Declared, measure_depth, white_level
from augment.datasets.images.images import Appearance, ImageForm, read_header
from augment.datasets.labelled import LabelledFiles
from augment.datasets.request import Request

logger = logging.getLogger(__name__)
DEFAULT_SIZE = 224
MOST_LOOKED_AT = 2**14  # files whose headers decide on the form
MOST_MEASURED = 2**10  # files of 16 bits whose values decide on what is white
_Item = TypeVar("_Item")


def spread_evenly(items: Sequence[_Item], count: int) -> Sequence[_Item]:
    """Select at most `count` items, evenly spread.

    >>> spread_evenly([0, 1, 2, 3, 4], 3)
    [0, 2, 4]
    """
    return items[:: -(-len(items) // count) or 1]


def common_form(
    deciding: Sequence[Appearance],
    others: Sequence[Appearance],
    request: Request,
    *,
    default: int,
    kind: str,
) -> ImageForm:
    """Choose the form of a data folder: RGB if any file has colour, the files' size if shared.

    Args:
        deciding: Files of all splits, the same whatever split is asked for.
        others: More files of the split asked for: they take the form, and are counted where it
            changes them.
        request: `size` and `channels` decide where they are given.
        default: Side where sizes differ.
        kind: `image` or `video`, for messages.
    """
    channels = request.channels or (3 if any(each.colour for each in deciding) else 1)
    changed = sum(each.colour != (channels == 3) for each in (*deciding, *others))
    if changed and channels == 3:
        logger.info("%d grey %ss become RGB", changed, kind)
    elif changed and request.channels:
        logger.info("%d colour %ss become grey", changed, kind)
    elif changed:
        logger.warning("%d colour %ss become grey; --channels 3 keeps colours", changed, kind)
    sizes = {(each.height, each.width) for each in deciding}
    if request.size is not None or len(sizes) != 1:
        if request.size is None and sizes:
            logger.warning("%s sizes differ: cut to %d x %d", kind, default, default)
        side = request.size or default
        return ImageForm(channels, side, side)
    height, width = sizes.pop()
    changed = sum((each.height, each.width) != (height, width) for each in others)
    if changed:
        logger.warning("%d %ss of other sizes are cut to %d x %d", changed, kind, height, width)
    return ImageForm(channels, height, width)


def common_image_form(files: LabelledFiles, request: Request) -> ImageForm:
    """Choose the form of images, and log the losses of bringing them to it.

    Args:
        files: The files to be read; the form is that of all splits.
        request: The size and channels wanted.

    Returns:
        The form; of broken files nothing is asked.
    """
    deciding = files.folder.paths(spread_evenly(files.folder.files, MOST_LOOKED_AT))
    seen, _ = try_each(read_header, deciding)
    others, _ = try_each(read_header, sorted({*files.paths} - {*deciding}))
    form = common_form(
        [*seen.values()], [*others.values()], request, default=DEFAULT_SIZE, kind="image"
    )
    every = [*seen.values(), *others.values()]
    if count := sum(header.alpha for header in every):
        logger.warning("%d of %d images have an alpha channel; it is dropped", count, len(every))
    if count := sum(header.several for header in every):
        logger.warning(
            "%d of %d images hold several pictures; the first is read", count, len(every)
        )
    deep = [path for path, header in seen.items() if header.deep]
    return replace(form, white_levels=_measure_white_levels(spread_evenly(deep, MOST_MEASURED)))


def _measure_white_levels(paths: Sequence[str]) -> dict[Declared, int]:
    """Measure the value that becomes white in deep images, for each number of declared bits."""
    highest: dict[Declared, int] = {}
    for declared, high in try_each(measure_depth, paths)[0].values():
        highest[declared] = max(high, highest.get(declared, 0))
    white_levels = {declared: white_level(declared, high) for declared, high in highest.items()}
    for declared, top in white_levels.items():
        if top < FULL:
            told = f"declare {declared} bits" if declared else "do not say how many bits they use"
            logger.warning(
                f"images of 16 bits a channel {told}, and go up to {highest[declared]}: {top} "
                "becomes white; an sBIT chunk (PNG) or MaxSampleValue (TIFF) says otherwise"
            )
    return white_levels
