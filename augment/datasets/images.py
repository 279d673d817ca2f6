"""From image files that nobody has checked to tensors of one shape."""

import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from attacks.errors import RefusedInput

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "GIF")
SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pnm", ".gif")
)
MOST_PIXELS = 2**26  # 67 million, 8192 x 8192: more is taken for a decompression bomb
_GREY = frozenset(("1", "L", "LA", "La", "I", "F"))
_SIDEWAYS = frozenset((5, 6, 7, 8))  # EXIF orientations that swap width and height

# What Pillow's decoders raise on hostile bytes: nearly anything but a signal.
BROKEN = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    Image.DecompressionBombError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True)
class Frame:
    """What a file's header promises: width and height as shown, and whether it has colours."""

    width: int
    height: int
    colour: bool


@dataclass(frozen=True)
class Fit:
    """The one form that all images of a dataset are brought to."""

    channels: int
    height: int
    width: int

    def __call__(self, image: Image.Image) -> Tensor:
        """Image as `(C, H, W)` uint8: upright, no alpha, scaled to cover and cut to the centre."""
        ImageOps.exif_transpose(image, in_place=True)
        plain = _eight_bit(image)
        mode = "L" if self.channels == 1 else "RGB"
        if plain.mode != mode:
            plain = plain.convert(mode)
        if plain.size != (self.width, self.height):
            plain = ImageOps.fit(plain, (self.width, self.height), Image.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.array(plain))  # (H, W) or (H, W, C)
        return pixels.view(self.height, self.width, self.channels).permute(2, 0, 1)  # (C, H, W)


def open_image(path: Path | str) -> Image.Image:
    """Open an image file without decoding it; the caller closes it.

    Raises:
        OSError: Not a readable file of a known format. Broken files raise any of `BROKEN`.
        ValueError: The image is empty or a decompression bomb.
    """
    if not os.path.isfile(path):  # a pipe would block, a device never end
        raise OSError("not a regular file that can be read")
    image = Image.open(path, formats=FORMATS)
    if not 0 < image.width * image.height <= MOST_PIXELS:
        image.close()
        raise ValueError(f"{image.width} x {image.height} pixels; at most {MOST_PIXELS} are read")
    return image


def read_frame(path: Path | str) -> Frame:
    """Read an image file's header; raises like `open_image`."""
    with open_image(path) as image:
        width, height = image.size
        if image.getexif().get(0x0112) in _SIDEWAYS:
            width, height = height, width
        colour = image.mode not in _GREY and not image.mode.startswith("I;")
        return Frame(width, height, colour)


def read_image(path: Path | str, fit: Fit) -> Tensor:
    """Decode an image file, `(C, H, W)` uint8; raises like `open_image`."""
    with open_image(path) as image:
        return fit(image)


def reason(error: BaseException) -> str:
    """Why a file was left out, in a few words."""
    if isinstance(error, UnidentifiedImageError):  # its own text repeats the path
        return "no image of a known format"
    return " ".join(str(error).split())[:200] or type(error).__name__


def _eight_bit(image: Image.Image) -> Image.Image:
    """Grey images of more than 8 bits a pixel, brought to 8."""
    if image.mode == "F":
        top = 1.0
    elif image.mode == "I" or image.mode.startswith("I;"):
        top = 65535.0
    else:
        return image
    values = np.asarray(image, dtype=np.float64) / top  # (H, W)
    if not (values.min() >= 0 and values.max() <= 1):  # NaN fails both
        seen = f"{values.min() * top:g} to {values.max() * top:g}"
        raise ValueError(f"values from {seen}, but allowed are 0 to {top:g}")
    return Image.fromarray(np.rint(values * 255).astype(np.uint8))


class ImageFiles:
    """Images of one form, decoded when asked for."""

    def __init__(self, paths: Sequence[str], fit: Fit) -> None:
        """Remember the files.

        Args:
            paths: The files.
            fit: The form they are brought to.
        """
        self._paths, self._fit = list(paths), fit
        self.shape = (len(self._paths), fit.channels, fit.height, fit.width)

    def sizes(self) -> list[int]:
        """Bytes of each file, by which `Dataset.digest` tells them apart."""
        return [os.path.getsize(path) for path in self._paths]

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Images `(B, C, H, W)` uint8.

        Raises:
            RefusedInput: A file turns out to be broken.
        """
        pixels = torch.empty(len(rows), *self.shape[1:], dtype=torch.uint8)  # (B, C, H, W)
        for place, row in enumerate(rows.tolist()):
            path = self._paths[row]
            try:
                pixels[place] = read_image(path, self._fit)
            except BROKEN as error:
                raise RefusedInput(
                    f"{path}: {reason(error)}; remove or repair this file and run again"
                ) from error
        return pixels
