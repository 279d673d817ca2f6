"""Where samples come from: one file a source, one line each in `SOURCES`."""

from collections.abc import Callable

from augment.dataset import Dataset
from augment.datasets.digits import digits
from augment.datasets.imagefolder import imagefolder
from augment.datasets.request import Request

SOURCES: dict[str, Callable[[Request], Dataset]] = {
    "digits": digits,
    "imagefolder": imagefolder,
}
