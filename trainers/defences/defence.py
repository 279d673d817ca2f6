"""The interface of a transform of samples in front of a classifier."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from attacks.common.options import Options


@dataclass(frozen=True)
class Defence(Options, ABC):
    """A transform of samples in front of a classifier; a frozen dataclass of its options.

    Images are (B, C, H, W), videos (B, C, T, H, W), whose frames are transformed alike; values are
    in [0, 1], and stay there. Random numbers come from torch's own CPU generator.

    Attributes:
        random: whether two calls with the same samples differ.
        masks_gradient: whether the transform's own gradient is zero, so that one needs `surrogate`.
    """

    random: ClassVar[bool] = False
    masks_gradient: ClassVar[bool] = False

    @property
    def draws(self) -> int:
        """Over how many calls a classifier's answer is averaged."""
        return 1

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """Return transformed samples, float (B, C, ..., H', W')."""

    def surrogate(self, x: Tensor) -> Tensor:
        """Return samples shaped like the transformed ones, with a gradient that can be followed.

        They are the transformed ones themselves, unless the transform masks gradients.

        Source: Athalye, Carlini & Wagner 2018, section 4.1 (BPDA).
        """
        return self(x)


def to_frames(x: Tensor) -> Tensor:
    """Return images (B, C, H, W) as they are, and the frames of videos as images, (B*T, C, H, W).

    >>> import torch
    >>> to_frames(torch.zeros(2, 3, 5, 8, 8)).shape
    torch.Size([10, 3, 8, 8])
    """
    return x if x.ndim == 4 else x.transpose(1, 2).flatten(0, 1)


def from_frames(frames: Tensor, like: Tensor) -> Tensor:
    """Invert `to_frames`: the frames (B*T, C, H, W) of videos shaped like (B, C, T, ...)."""
    if like.ndim == 4:
        return frames
    return frames.reshape(len(like), -1, *frames.shape[1:]).transpose(1, 2)
