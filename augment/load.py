"""`load_dataset`: from a short text such as `imagefolder:photos` to a dataset."""

from typing import get_args

from attacks.errors import RefusedInput
from augment.dataset import Dataset
from augment.datasets import SOURCES
from augment.datasets.arrays.torchvision_arrays import NAMES
from augment.datasets.images.conversion import convert_channels, resize_dataset
from augment.datasets.request import Request
from augment.splits import Split, choose_balanced

MOST_CLIP_FRAMES = 2**16


def load_dataset(
    spec: str,
    split: Split,
    *,
    size: int | None = None,
    classes: str | None = None,
    samples: int | None = None,
    seed: int = 0,
    download: bool = False,
    frames: int | None = None,
    stride: int = 1,
    clips: int = 1,
    channels: int | None = None,
) -> Dataset:
    """Load one split of a dataset.

    Args:
        spec: `digits`, `photos` (two, of the split test), `imagefolder:DIR`, `cifar10:DIR`,
            `npz:FILE`, `torchvision:NAME[:ROOT]` or `NAME[:ROOT]` with NAME such as `CIFAR10`.
            Videos: `moving-digits`,
            `videofolder:DIR`, `ucf101:DIR[:FOLD]`, `hmdb51:DIR[:FOLD]`, `kinetics:DIR`, `npz:FILE`.
        split: `train`, `val` or `test`; of labelled data the three never share a sample.
        size: Side of the square images or videos; None keeps the size they have.
        classes: File of a class list; line i names class i.
        samples: Size of a class-balanced subset; None takes all.
        seed: Seed of that choice.
        download: Whether a torchvision dataset may be fetched.
        frames: Frames of a clip; None takes 16, of an npz as many as there are.
        stride: How many frames of the video further the next frame of a clip is.
        clips: Clips taken from each video, spread evenly over it, each a sample of its own.
        channels: 1 makes the samples grey, 3 RGB; None makes them RGB where any has colours. All
            splits of a source share one form.

    Returns:
        The dataset, in memory where it decodes to at most 2 GiB.

    Raises:
        ValueError: Unknown spec or split, a number below 1, or options of clips for images.
        RefusedInput: Files that are missing, corrupt, unsafe or do not match.

    >>> load_dataset("digits", "test").shape
    (1, 8, 8)
    """
    if split not in get_args(Split):
        raise ValueError(f"unknown split {split!r}; choose one of {', '.join(get_args(Split))}")
    numbers = {"size": size, "samples": samples, "frames": frames, "stride": stride, "clips": clips}
    for option, value in numbers.items():
        if value is not None and value < 1:
            raise ValueError(f"{option}={value}: must be at least 1; give a larger number")
    if channels not in (None, 1, 3):
        raise ValueError(f"channels={channels}: allowed are 1 (grey) and 3 (RGB); give one of them")
    source, target = _parse_spec(spec)
    if (frames or 1) * clips > MOST_CLIP_FRAMES:
        raise ValueError(
            f"frames={frames}, clips={clips}: at most {MOST_CLIP_FRAMES} frames are taken from a "
            "video; ask for fewer"
        )
    request = Request(
        target, split, size, classes, samples, seed, download, frames, stride, clips, channels
    )
    dataset = SOURCES[source](request)
    if not dataset.is_video and (frames, stride, clips) != (None, 1, 1):
        raise ValueError(
            f"{spec}: frames={frames}, stride={stride}, clips={clips}, but these are images; leave "
            "the three out, or name videos"
        )
    if not len(dataset):
        raise RefusedInput(f"{spec}: the {split} split is empty; add samples or name another")
    if samples is not None and len(dataset) > samples:
        dataset = dataset.subset(choose_balanced(dataset.labels, samples, seed=seed))
    if channels is not None:
        dataset = convert_channels(dataset, channels)
    return dataset if size is None else resize_dataset(dataset, size)


def _parse_spec(spec: str) -> tuple[str, str]:
    """Parse a spec into its source and target."""
    name, _, target = spec.partition(":")
    if name in NAMES:
        return "torchvision", spec
    if name not in SOURCES:
        raise ValueError(
            f"unknown dataset {spec!r}; known are {', '.join((*SOURCES, *NAMES))}; a folder is "
            "imagefolder:DIR or videofolder:DIR"
        )
    return name, target
