"""Classic augmentation of a batch, on its device and from a given generator alone."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from kornia.enhance import (
    adjust_brightness_accumulative,
    adjust_contrast_with_mean_subtraction,
    adjust_hue,
    adjust_saturation,
)
from torch import Tensor

from attacks.common.options import Natural, Options, between
from augment.transforms.geometry import warp
from augment.transforms.lens import distort, vignette

Amount = Annotated[float, between(0, 1)]
_SIGNS = ("digit", "mnist", "svhn", "gtsrb")  # mirrored, these show something else


@dataclass(frozen=True)
class ClassicAugmentation(Options):
    """Random geometry, lens and colour, drawn anew for every sample; zero leaves a property alone.

    All frames of a video are changed alike.

    Attributes:
        shift: Largest move in whole pixels, up, down, left and right; the gap is black. Padding
            by as many pixels and cropping at random does the same.
        flip: Whether half of the samples are mirrored left to right.
        rotation: Largest turn, in degrees.
        zoom: Largest relative change of size, below 1.
        brightness: Largest relative change of brightness.
        contrast: Largest relative change of contrast around the mean of the image or
            frame.
        saturation: Largest relative change of saturation; RGB only.
        hue: Largest turn of the hue, as a share of the colour circle, at most 0.5; RGB only.
        colour_cast: Largest relative change of each channel on its own; RGB only.
        vignette: Largest share of the light that the corners lose.
        distortion: Largest radial coefficient of the lens, of either sign, at most 0.3: by so
            much of its distance a corner moves, see `distort`.

    Source: Rey-de-Castro & Rabitz 2018, section 2.3.
    """

    shift: Natural = 0
    flip: bool = False
    rotation: Annotated[float, between(0, 180)] = 0.0
    zoom: Annotated[float, between(0, 0.99)] = 0.0
    brightness: Amount = 0.0
    contrast: Amount = 0.0
    saturation: Amount = 0.0
    hue: Annotated[float, between(0, 0.5)] = 0.0
    colour_cast: Amount = 0.0
    vignette: Amount = 0.0
    distortion: Annotated[float, between(0, 0.3)] = 0.0

    def __call__(self, x: Tensor, *, generator: torch.Generator) -> Tensor:
        """Augment a batch.

        Args:
            x: `(B, C, H, W)` or `(B, C, T, H, W)` float32 in [0, 1], on any device.
            generator: Where all randomness comes from; any device.

        Returns:
            A new batch like x, in [0, 1].

        Raises:
            ValueError: x is no batch of images or videos, or colours are asked of grey ones.
        """
        if x.ndim not in (4, 5) or x.shape[1] not in (1, 3):
            raise ValueError(
                f"x has shape {tuple(x.shape)}; give (B, C, H, W) or (B, C, T, H, W) with C 1 or 3"
            )
        self.check_channels(x.shape[1])

        def draw(largest: float) -> Tensor:
            """Draw `(B,)` uniform in [-largest, largest), on the device of x."""
            u = torch.rand(len(x), generator=generator, device=generator.device)
            return ((2 * u - 1) * largest).to(x.device)

        planes = self._geometry(x.flatten(1, -3), draw)  # (B, C * T, H, W): one map for all T
        return self._colour(self._lens(planes, draw).reshape(x.shape), draw).clamp(0, 1)

    def check_channels(self, channels: int) -> None:
        """Check that grey samples are asked no colours.

        Raises:
            ValueError: For saturation, hue or a colour cast of one channel.
        """
        if channels == 1 and (self.saturation or self.hue or self.colour_cast):
            raise ValueError(
                "saturation, hue and colour_cast need RGB samples; set them to 0 for grey ones"
            )

    def _colour(self, x: Tensor, draw: Callable[[float], Tensor]) -> Tensor:
        clips = x if x.ndim == 5 else x[:, :, None]  # (B, C, T, H, W)
        count = clips.shape[2]
        frames = clips.movedim(2, 1).flatten(0, 1)  # (B * T, C, H, W)
        for amount, adjust in (
            (self.brightness, adjust_brightness_accumulative),
            (self.contrast, adjust_contrast_with_mean_subtraction),
            (self.saturation, adjust_saturation),
        ):
            if amount:
                frames = adjust(frames, 1 + draw(amount).repeat_interleave(count))
        if self.hue:
            frames = adjust_hue(frames, draw(2 * math.pi * self.hue).repeat_interleave(count))
        if self.colour_cast:
            gains = 1 + torch.stack([draw(self.colour_cast) for _ in range(3)], 1)  # (B, 3)
            frames = frames * gains.repeat_interleave(count, 0)[..., None, None]
        return frames.reshape(len(x), count, *frames.shape[1:]).movedim(1, 2).reshape(x.shape)

    def _geometry(self, x: Tensor, draw: Callable[[float], Tensor]) -> Tensor:
        if not (self.shift or self.flip or self.rotation or self.zoom):
            return x
        span = self.shift + 0.5  # rounds to -shift .. shift, each as likely
        return warp(
            x,
            right=draw(span).round().clamp(-self.shift, self.shift),
            down=draw(span).round().clamp(-self.shift, self.shift),
            mirrored=(draw(1) < 0) & self.flip,
            degrees=draw(self.rotation),
            scale=1 + draw(self.zoom),
        )

    def _lens(self, x: Tensor, draw: Callable[[float], Tensor]) -> Tensor:
        x = distort(x, draw(self.distortion)) if self.distortion else x
        return vignette(x, draw(self.vignette).abs()) if self.vignette else x


def classic_for(dataset_name: str, shape: Sequence[int]) -> ClassicAugmentation:
    """Choose the default augmentation of a data set: shifts by an eighth, and mirroring.

    Args:
        dataset_name: Name of the dataset; signs such as digits are not mirrored.
        shape: `(C, H, W)` or `(C, T, H, W)` of its samples; grey ones are not mirrored.

    >>> classic_for("digits", (1, 8, 8)) == ClassicAugmentation(shift=1)
    True
    """
    channels, *_, height, width = shape
    upright = any(word in dataset_name.lower() for word in _SIGNS)
    return ClassicAugmentation(shift=min(height, width) // 8, flip=channels == 3 and not upright)
