"""Other codecs: code each sample as a file, measure it with and without headers, decode it."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, features
from torch import Tensor

from trainers.jobs.compress.benchmark import video_peers
from trainers.run.show.images import to_uint8


class PeerFile(NamedTuple):
    """A sample as a file: its bytes, those beside headers, and the decoded sample."""

    size: int
    payload: int
    x: Tensor


@dataclass(frozen=True)
class Peer:
    """Another codec.

    Attributes:
        code: codes a sample (C, H, W) or (C, T, H, W) at a quality.
        worst: quality with the smallest files.
        best: quality with the largest ones; between them, whole numbers.
        missing: what this installation lacks for it, or "".
    """

    code: Callable[[Tensor, int], PeerFile]
    worst: int
    best: int
    missing: str = ""


def jpeg_payload(data: bytes) -> int:
    """Return the length of a JPEG's scan, without its markers and tables.

    Pillow writes one baseline scan: it lies between the scan's own head and the end marker.
    """
    head = data.index(b"\xff\xda") + 2
    return len(data) - 2 - (head + int.from_bytes(data[head : head + 2], "big"))


def jpeg2000_payload(data: bytes) -> int:
    """Return the length of a JPEG 2000 codestream's only tile, from SOD (FF93) to EOC (FFD9)."""
    return len(data) - 2 - (data.index(b"\xff\x93") + 2)


def webp_payload(data: bytes) -> int:
    """Return the length of a WebP's one chunk of pictures, "VP8 ": RIFF's heads take 20 bytes."""
    start = data.index(b"VP8 ")
    return int.from_bytes(data[start + 4 : start + 8], "little")


def avif_payload(data: bytes) -> int:
    """Return the length of what an AVIF's box "mdat" holds."""
    start = data.index(b"mdat")
    return int.from_bytes(data[start - 4 : start], "big") - 8


def _image(form: str, payload: Callable[[bytes], int], **options: int | bool) -> Peer:
    """Return a codec of Pillow's whose quality is a number from 0 to 100."""

    def code(x: Tensor, quality: int) -> PeerFile:
        buffer = io.BytesIO()
        _picture(x).save(buffer, form, quality=quality, **options)
        return _coded(x, buffer.getvalue(), payload)

    check = {"JPEG": "jpg", "WEBP": "webp", "AVIF": "avif"}[form]
    missing = "" if features.check(check) else f"this Pillow has no {form}"
    return Peer(code, 1 if form == "JPEG" else 0, 95 if form == "JPEG" else 100, missing)


def _jpeg2000(x: Tensor, decibels: int) -> PeerFile:
    """Code at a signal-to-noise ratio in tenths of a decibel."""
    buffer, picture = io.BytesIO(), _picture(x)
    colour = {"mct": 1} if picture.mode == "RGB" else {}
    # As many as suit small pictures too: each resolution has heads of its own.
    resolutions = min(max(min(picture.size).bit_length() - 3, 1), 6)
    picture.save(
        buffer,
        "JPEG2000",
        no_jp2=True,
        irreversible=True,
        quality_mode="dB",
        quality_layers=[decibels / 10],
        num_resolutions=resolutions,
        **colour,
    )
    return _coded(x, buffer.getvalue(), jpeg2000_payload)


def _picture(x: Tensor) -> Image.Image:
    pixels = to_uint8(x)
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def _coded(x: Tensor, data: bytes, payload: Callable[[bytes], int]) -> PeerFile:
    """Decode a file again, in the channels of its sample."""
    with Image.open(io.BytesIO(data)) as image:
        pixels = np.array(image.convert("L" if len(x) == 1 else "RGB"))  # (H, W) or (H, W, C)
    decoded = torch.from_numpy(pixels).view(*x.shape[1:], len(x)).permute(2, 0, 1)  # (C, H, W)
    return PeerFile(len(data), payload(data), decoded.float() / 255)


def _video(codec: str, payload: Callable[[bytes], int], worst: int) -> Peer:
    def code(x: Tensor, crf: int) -> PeerFile:
        return PeerFile(*video_peers.code_clip(x, codec, crf, payload))

    return Peer(code, worst, 0, video_peers.missing_encoder(codec))


IMAGES: dict[str, Peer] = {
    "jpeg": _image("JPEG", jpeg_payload, optimize=True),
    "jpeg2000": Peer(
        _jpeg2000, 30, 600, "" if features.check("jpg_2000") else "this Pillow has no JPEG 2000"
    ),
    "webp": _image("WEBP", webp_payload, method=6),
    "avif": _image("AVIF", avif_payload, speed=4),
}
VIDEOS: dict[str, Peer] = {
    "x264": _video("libx264", video_peers.x264_payload, 51),
    "av1": _video("libsvtav1", len, 63),
}


def find_quality(peer: Peer, samples: list[Tensor], payload: float) -> int:
    """Return the quality at which samples have the mean payload nearest to a number of bytes."""
    sizes: dict[int, float] = {}

    def size(quality: int) -> float:
        if quality not in sizes:
            sizes[quality] = sum(peer.code(x, quality).payload for x in samples) / len(samples)
        return sizes[quality]

    low, high = peer.worst, peer.best
    while abs(high - low) > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if size(middle) > payload else (middle, high)
    return min((low, high), key=lambda quality: abs(size(quality) - payload))
