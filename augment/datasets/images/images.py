"""From image files that nobody has checked to tensors of one shape."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError
from torch import Tensor

from augment.datasets.images.deep import (
    Declared,
    has_deep_grey,
    is_deep,
    path_of,
    png_chunks,
    to_eight_bit,
)

MOST_PIXELS = 2**26  # 67 million, 8192 x 8192: more is taken for a decompression bomb
# Told from their first bytes, whatever their suffix; others are read only by their own suffix.
_COMMON = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "GIF", "AVIF", "JPEG2000")
# A stub knows a format by name alone; EPS is a program that another program runs.
_NEVER = frozenset(("EPS", "MPEG"))
_GREY = frozenset(("1", "L", "LA", "La", "I", "F"))
_ORIENTATION = 0x0112
_SIDEWAYS = frozenset((5, 6, 7, 8))  # values of it that swap width and height


@cache
def image_suffixes() -> dict[str, str]:
    """Map lower-case suffixes with their dot to the formats that this Pillow decodes by itself."""
    Image.init()
    stubs = ImageFile.StubImageFile
    openers = {name: opener for name, (opener, _) in Image.OPEN.items() if name not in _NEVER}
    known = [n for n, o in openers.items() if not (isinstance(o, type) and issubclass(o, stubs))]
    return {suffix: n for suffix, n in Image.registered_extensions().items() if n in known}


@dataclass(frozen=True)
class Appearance:
    """The size of a file as shown, and whether it has colours."""

    height: int
    width: int
    colour: bool


@dataclass(frozen=True)
class ImageHeader(Appearance):
    """The properties in an image file's header.

    Attributes:
        alpha: Whether it has transparency.
        several: Whether it holds several pictures.
        deep: Whether it has whole numbers of more than 8 bits.
    """

    alpha: bool
    several: bool
    deep: bool


@dataclass(frozen=True)
class ImageForm:
    """The one form that all images of a dataset are brought to.

    Attributes:
        channels: 1 or 3.
        height: Rows.
        width: Columns.
        white_levels: The values that become white in deep images, as of `to_eight_bit`.
    """

    channels: int
    height: int
    width: int
    white_levels: Mapping[Declared, int] = field(default_factory=dict)

    def __call__(self, image: Image.Image) -> Tensor:
        """Convert an image to `(C, H, W)` uint8: upright, no alpha, scaled to cover and cropped."""
        plain = _reduce_depth(image, self.white_levels)
        if plain is not image:
            plain.getexif()[_ORIENTATION] = image.getexif().get(_ORIENTATION, 1)
        ImageOps.exif_transpose(plain, in_place=True)
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
    own = image_suffixes().get(os.path.splitext(path)[1].lower(), "PNG")
    try:
        image = Image.open(path, formats=[n for n in (*_COMMON, own) if n in Image.OPEN])
    except UnidentifiedImageError as error:  # its own text repeats the path
        raise OSError("no image of a known format") from error
    if not 0 < image.width * image.height <= MOST_PIXELS:
        image.close()
        raise ValueError(f"{image.width} x {image.height} pixels; at most {MOST_PIXELS} are read")
    return image


def read_header(path: Path | str) -> ImageHeader:
    """Read an image file's header; raises like `open_image`."""
    with open_image(path) as image:
        width, height = image.size
        deep = is_deep(image)  # told, as the alpha channel, before EXIF may decode the pixels
        grey = image.mode in _GREY or image.mode.startswith("I;") or has_deep_grey(image)
        several = image.format != "MPO" and getattr(image, "is_animated", False)
        alpha = image.has_transparency_data
        if _read_exif(image).get(_ORIENTATION) in _SIDEWAYS:
            width, height = height, width
        return ImageHeader(height, width, not grey, alpha, several, deep)


def _read_exif(image: Image.Image) -> Image.Exif:
    """Read the EXIF data; Pillow would decode every PNG for what may stand behind its pixels."""
    if image.format == "PNG":
        with open(path_of(image), "rb") as file:
            if not {b"+eXIf", b"+iTXt"} & png_chunks(file).keys():
                return Image.Image.getexif(image)
    return image.getexif()


def read_image(path: Path | str, form: ImageForm) -> Tensor:
    """Decode an image file, `(C, H, W)` uint8; raises like `open_image`."""
    with open_image(path) as image:
        return form(image)


def _reduce_depth(image: Image.Image, white_levels: Mapping[Declared, int]) -> Image.Image:
    """Convert images of more than 8 bits a channel to 8."""
    if is_deep(image):
        return to_eight_bit(image, white_levels)
    if image.mode != "F":
        return image
    values = np.asarray(image, dtype=np.float64)  # (H, W)
    if not (values.min() >= 0 and values.max() <= 1):  # NaN fails both
        raise ValueError(f"values from {values.min():g} to {values.max():g}; allowed are 0 to 1")
    return Image.fromarray(np.rint(values * 255).astype(np.uint8))
