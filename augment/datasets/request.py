"""The options of a source of samples."""

from dataclasses import dataclass

from augment.splits import Split


@dataclass(frozen=True)
class Request:
    """The arguments of `load_dataset`, `spec` already parsed.

    Attributes:
        target: The text after the first colon of the spec; empty when there is none.
        split: The split wanted.
        size: Side of the square images or videos, or None for their own.
        classes: File of a class list, or None.
        samples: Size of a class-balanced subset, or None for all.
        seed: Seed of that choice.
        download: Whether fetching is allowed.
        frames: Frames of a clip, or None for the usual number.
        stride: How many frames of the video further the next frame of a clip is.
        clips: Clips taken from each video.
        channels: 1 for grey samples, 3 for RGB, or None for RGB where any has colours.
    """

    target: str
    split: Split
    size: int | None = None
    classes: str | None = None
    samples: int | None = None
    seed: int = 0
    download: bool = False
    frames: int | None = None
    stride: int = 1
    clips: int = 1
    channels: int | None = None
