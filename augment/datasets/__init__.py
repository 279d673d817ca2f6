"""Where samples come from: one file a source, one line each in `SOURCES`."""

from collections.abc import Callable

from augment.dataset import Dataset
from augment.datasets.cifar10 import read_cifar10
from augment.datasets.digits import read_digits
from augment.datasets.imagefolder import read_imagefolder
from augment.datasets.moving_digits import read_moving_digits
from augment.datasets.npz import read_npz
from augment.datasets.request import Request
from augment.datasets.torchvision_arrays import read_torchvision
from augment.datasets.video_lists import read_hmdb51, read_kinetics, read_ucf101
from augment.datasets.videofolder import read_videofolder

Source = Callable[[Request], Dataset]

SOURCES: dict[str, Source] = {
    "digits": read_digits,
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
