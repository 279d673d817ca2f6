"""Classic augmentation of a batch, on its device and from a given generator alone."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from kornia.enhance import (
    adjust_brightness_accumulative,
    adjust_contrast_with_mean_subtraction,
    adjust_hue,
    adjust_saturation,
)
from torch import Tensor

from augment.geometry import move

_SIGNS = ("digit", "mnist", "svhn", "gtsrb")  # mirrored, these show something else


@dataclass(frozen=True)
class ClassicAugmentation:
    """Random geometry and colour, drawn anew for every image; zero leaves a property alone.

    Attributes:
        shift: Largest move in whole pixels, up, down, left and right; the gap is black. Padding
            by as many pixels and cropping at random does the same.
        flip: Whether half of the images are mirrored left to right.
        rotation: Largest turn, in degrees.
        zoom: Largest relative change of size, below 1.
        brightness: Largest relative change of brightness.
        contrast: Largest relative change of contrast around the image's mean.
        saturation: Largest relative change of saturation; RGB only.
        hue: Largest turn of the hue, as a share of the colour circle, at most 0.5; RGB only.
    """

    shift: int = 0
    flip: bool = False
    rotation: float = 0.0
    zoom: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def __post_init__(self) -> None:
        """Refuse amounts that mean nothing.

        Raises:
            ValueError: An amount is negative, not finite or too large.
        """
        limits = {"shift": math.inf, "rotation": 180, "zoom": 0.99, "hue": 0.5}
        for name in ("shift", "rotation", "zoom", "brightness", "contrast", "saturation", "hue"):
            value, limit = getattr(self, name), limits.get(name, 1)
            if not (0 <= value <= limit and math.isfinite(value)):
                raise ValueError(f"{name}={value}: give a number from 0 to {limit}")

    def __call__(self, x: Tensor, *, generator: torch.Generator) -> Tensor:
        """Augment a batch.

        Args:
            x: `(B, C, H, W)` float32 in [0, 1], on any device.
            generator: Where all randomness comes from; any device.

        Returns:
            A new batch like x, in [0, 1].

        Raises:
            ValueError: x is no batch of images, or colours are asked of grey images.
        """
        if x.ndim != 4 or x.shape[1] not in (1, 3):
            raise ValueError(f"x has shape {tuple(x.shape)}; give (B, 1, H, W) or (B, 3, H, W)")
        if x.shape[1] == 1 and (self.saturation or self.hue):
            raise ValueError("saturation and hue need RGB images; set both to 0 for grey ones")

        def draw(largest: float) -> Tensor:
            """(B,) uniform in [-largest, largest), on the device of x."""
            u = torch.rand(len(x), generator=generator, device=generator.device)
            return ((2 * u - 1) * largest).to(x.device)

        x = self._geometry(x, draw)
        for amount, adjust in (
            (self.brightness, adjust_brightness_accumulative),
            (self.contrast, adjust_contrast_with_mean_subtraction),
            (self.saturation, adjust_saturation),
        ):
            x = adjust(x, 1 + draw(amount)) if amount else x
        x = adjust_hue(x, draw(2 * math.pi * self.hue)) if self.hue else x
        return x.clamp(0, 1)

    def _geometry(self, x: Tensor, draw: Callable[[float], Tensor]) -> Tensor:
        if not (self.shift or self.flip or self.rotation or self.zoom):
            return x
        span = self.shift + 0.5  # rounds to -shift .. shift, each as likely
        return move(
            x,
            right=draw(span).round().clamp(-self.shift, self.shift),
            down=draw(span).round().clamp(-self.shift, self.shift),
            mirrored=(draw(1) < 0) & self.flip,
            degrees=draw(self.rotation),
            scale=1 + draw(self.zoom),
        )


def classic_for(dataset_name: str, shape: Sequence[int]) -> ClassicAugmentation:
    """The usual augmentation for a kind of data: shifts by an eighth, and mirroring.

    Args:
        dataset_name: Name of the dataset; signs such as digits are not mirrored.
        shape: `(C, H, W)` of its images; grey ones are not mirrored.

    >>> classic_for("digits", (1, 8, 8)) == ClassicAugmentation(shift=1)
    True
    """
    channels, height, width = shape
    upright = any(word in dataset_name.lower() for word in _SIGNS)
    return ClassicAugmentation(shift=min(height, width) // 8, flip=channels == 3 and not upright)
