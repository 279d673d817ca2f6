"""The one form that all samples of a data folder are brought to, whatever split they are of."""

import logging
from collections.abc import Sequence
from typing import Protocol, TypeVar

from augment.datasets.images.images import ImageForm
from augment.datasets.request import Request

logger = logging.getLogger(__name__)
_Item = TypeVar("_Item")


class Appearance(Protocol):
    """The size of a file as shown, and whether it has colours."""

    @property
    def height(self) -> int:
        """Rows."""

    @property
    def width(self) -> int:
        """Columns."""

    @property
    def colour(self) -> bool:
        """Whether the file has colours."""


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
    colour = any(each.colour for each in deciding)
    channels = request.channels or (3 if colour else 1)
    every = [*deciding, *others]
    changed = sum(each.colour != (channels == 3) for each in every)
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
