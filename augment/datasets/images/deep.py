"""Images of more than 8 bits a channel: the value that is white, and the conversion to bytes.

Sixteen-bit files often hold data of 10, 12 or 14 bits; divided by 65535 it would be nearly black.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FULL = 65535
Declared = int | None
_DEPTHS = (8, 10, 12, 14)  # of bits; what takes more is taken for full range
_FORMATS = {"PNG": "png_pipe", "TIFF": "tiff_pipe"}  # Pillow keeps one byte of their 16-bit colours
_GREY_ALPHA = {"ya16be": ">u2", "ya16le": "<u2"}  # grey and alpha by turns
_SCALED = frozenset(("PPM", "JPEG2000"))  # Pillow has brought these to full range already
_BITS, _MAXIMUM = 258, 281  # tags of TIFF
_CHUNKS = 2**16  # of a PNG that are looked at


def is_deep(image: Image.Image) -> bool:
    """Tell whether an image, opened and not decoded, has whole numbers of more than 8 bits."""
    return image.mode == "I" or image.mode.startswith("I;") or is_deep_colour(image)


def is_deep_colour(image: Image.Image) -> bool:
    """Tell whether an opened image has 16 bits a channel and Pillow would keep 8 of them."""
    if image.format not in _FORMATS or image.mode not in ("RGB", "RGBA", "LA", "RGBX"):
        return False
    return ";16" in _raw_mode(image)


def has_deep_grey(image: Image.Image) -> bool:
    """Tell whether an image is grey with alpha of 16 bits, which Pillow calls RGBA."""
    return image.format == "PNG" and "LA;16" in _raw_mode(image)


def _raw_mode(image: Image.Image) -> str:
    """Return Pillow's raw mode of the file's samples; empty once they are decoded."""
    tiles: Iterable[Any] = image.tile  # type: ignore[attr-defined]
    return " ".join(str(tile.args) for tile in tiles)


def path_of(image: Image.Image) -> str:
    """Return the file that an image was opened from."""
    return str(image.filename)  # type: ignore[attr-defined]


def declared_bits(image: Image.Image) -> Declared:
    """Read how many bits of each sample an opened file declares; None if it declares none."""
    if image.format in _SCALED:
        return 16
    bits = 0
    if image.format == "PNG":
        with open(path_of(image), "rb") as file:
            found = png_chunks(file).get(b"sBIT", b"")
        bits = max(found[: 1 if len(found) < 3 else 3], default=0)
    elif image.format == "TIFF":
        tags: Mapping[int, object] = image.tag_v2  # type: ignore[attr-defined]
        bits = max(_whole_numbers(tags.get(_BITS)), default=16)
        if bits == 16:
            bits = max(_whole_numbers(tags.get(_MAXIMUM)), default=0).bit_length()
    return bits if 8 <= bits <= 16 else None


def _whole_numbers(tag: object) -> list[int]:
    values = tag if isinstance(tag, tuple) else (tag,)
    return [value for value in values if isinstance(value, int)]


def png_chunks(file: IO[bytes]) -> dict[bytes, bytes]:
    """Read the chunks of a PNG other than pixels, by name; those behind the pixels by `+name`.

    Raises:
        ValueError: The file ends within a chunk.
    """
    found: dict[bytes, bytes] = {}
    end = file.seek(0, os.SEEK_END)
    place, behind = 8, b""
    for _ in range(_CHUNKS):
        file.seek(place)
        head = file.read(8)
        if len(head) < 8:
            break
        size, name = struct.unpack(">I4s", head)
        if name == b"IDAT":
            behind = b"+"
        else:
            found[behind + name] = file.read(min(size, 4)) if name == b"sBIT" else b""
        place = min(place + size + 12, end)
    return found


def decode_deep(image: Image.Image) -> NDArray[Any]:
    """Decode a deep image, `(H, W)` or `(H, W, 3)` without alpha.

    Raises:
        ValueError: The file is broken.
    """
    if not is_deep_colour(image):
        return np.asarray(image)
    import av  # videos need it too; plain images do not wait for it

    kind = "gray16le" if has_deep_grey(image) or image.mode == "LA" else "rgb48le"
    try:
        with (
            open(path_of(image), "rb") as file,
            av.open(file, "r", format=_FORMATS[str(image.format)]) as container,
        ):
            container.streams.video[0].codec_context.thread_count = 1
            frame = next(container.decode(video=0))
            if (frame.width, frame.height) != image.size:
                raise ValueError(f"{frame.width} x {frame.height} pixels, not {image.size}")
            decoded: NDArray[Any]
            if frame.format.name in _GREY_ALPHA:  # whose conversion by FFmpeg is not always right
                plane, order = frame.planes[0], _GREY_ALPHA[frame.format.name]
                rows = np.frombuffer(bytes(plane), order).reshape(-1, plane.line_size // 2)
                decoded = rows[: frame.height, : 2 * frame.width : 2].astype(np.uint16)  # (H, W)
            else:
                decoded = frame.reformat(format=kind).to_ndarray()
            return decoded
    except (av.FFmpegError, StopIteration, IndexError) as error:
        raise ValueError(f"its 16-bit colours cannot be decoded ({error})") from error


def to_eight_bit(image: Image.Image, white_levels: Mapping[Declared, int]) -> Image.Image:
    """Convert a deep image to 8 bits.

    Args:
        image: The opened image.
        white_levels: The value that becomes white, for each number of bits that files declare.

    Raises:
        ValueError: The file is broken, or a value is negative or above the top.
    """
    declared, values = declared_bits(image), decode_deep(image)
    low, high = int(values.min()), int(values.max())
    top = white_levels.get(declared) or white_level(declared, high if declared else FULL)
    if not 0 <= low <= high <= top:
        raise ValueError(f"values from {low} to {high}, but allowed are 0 to {top}")
    return Image.fromarray(np.rint(values * (255 / top)).astype(np.uint8))


def white_level(declared: Declared, high: int) -> int:
    """Choose the value that becomes white, from the declared bits and the highest value.

    The PNG specification wants 12 bits spread over 16; many files hold them as they are.

    >>> [white_level(*a) for a in ((12, 4000), (12, 60000), (None, 3000), (None, 40000))]
    [4095, 65535, 4095, 65535]
    """
    depths: Iterable[int] = _DEPTHS if declared is None else (declared,)
    return next((2**d - 1 for d in depths if 0 < high < 2**d), FULL)


def measure_depth(path: Path | str) -> tuple[Declared, int]:
    """Read the declared bits and the largest value of a deep file; raises like `decode_deep`."""
    with Image.open(path) as image:
        return declared_bits(image), int(decode_deep(image).max())
