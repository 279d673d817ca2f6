"""Where samples come from: one file a source, one line each in `SOURCES`."""

from collections.abc import Callable

from augment.dataset import Dataset
from augment.datasets.arrays.cifar10 import read_cifar10
from augment.datasets.arrays.digits import read_digits
from augment.datasets.arrays.moving_digits import read_moving_digits
from augment.datasets.arrays.npz import read_npz
from augment.datasets.arrays.photos import read_photos
from augment.datasets.arrays.torchvision_arrays import read_torchvision
from augment.datasets.images.imagefolder import read_imagefolder
from augment.datasets.request import Request
from augment.datasets.videos.video_lists import read_hmdb51, read_kinetics, read_ucf101
from augment.datasets.videos.videofolder import read_videofolder

SOURCES: dict[str, Callable[[Request], Dataset]] = {
    "digits": read_digits,
    "photos": read_photos,
    "imagefolder": read_imagefolder,
    "cifar10": read_cifar10,
    "npz": read_npz,
    "torchvision": read_torchvision,
    "moving-digits": read_moving_digits,
    "videofolder": read_videofolder,
    "ucf101": read_ucf101,
    "hmdb51": read_hmdb51,
    "kinetics": read_kinetics,
}
