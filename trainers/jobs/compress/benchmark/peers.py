"""Other codecs: code each sample as a file, measure it with and without headers, decode it."""

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, cast

import av
import numpy as np
import torch
from av.video.stream import VideoStream
from PIL import Image, features
from torch import Tensor

from trainers.run.show.images import to_uint8

RATE = 25  # frames a second
# Of FFmpeg's encoders: slow and thorough, and on one thread.
OPTIONS = {
    "libx264": {"preset": "veryslow", "threads": "1"},
    "libsvtav1": {"preset": "4", "svtav1-params": "lp=1"},
}
SLICES = range(1, 6)  # the kinds of H.264 units that hold pictures


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


def x264_payload(packet: bytes) -> int:
    """Return the bytes of the slices in a packet: its other units are heads and x264's own text."""
    units = packet.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")[1:]
    return sum(len(unit) for unit in units if unit and unit[0] & 31 in SLICES)


def _image(form: str, payload: Callable[[bytes], int], **options: int | bool) -> Peer:
    """Return a codec of Pillow's whose quality is a number from 0 to 100."""

    def code(x: Tensor, quality: int) -> PeerFile:
        return _code_picture(x, form, payload, {"quality": quality} | options)

    check = {"JPEG": "jpg", "WEBP": "webp", "AVIF": "avif"}[form]
    missing = "" if features.check(check) else f"this Pillow has no {form}"
    return Peer(code, 1 if form == "JPEG" else 0, 95 if form == "JPEG" else 100, missing)


def _jpeg2000(x: Tensor, decibels: int) -> PeerFile:
    """Code at a signal-to-noise ratio in tenths of a decibel."""
    options = {
        "no_jp2": True,
        "irreversible": True,
        "quality_mode": "dB",
        "quality_layers": [decibels / 10],
        # As many as suit small pictures too: each resolution has heads of its own.
        "num_resolutions": min(max(min(x.shape[1:]).bit_length() - 3, 1), 6),
    }
    colour = {"mct": 1} if len(x) == 3 else {}
    return _code_picture(x, "JPEG2000", jpeg2000_payload, options | colour)


def _code_picture(
    x: Tensor, form: str, payload: Callable[[bytes], int], options: dict[str, Any]
) -> PeerFile:
    """Code a picture with Pillow, and decode it again, in the channels of its sample."""
    pixels, buffer = to_uint8(x), io.BytesIO()  # (H, W, C)
    Image.fromarray(pixels[..., 0] if len(x) == 1 else pixels).save(buffer, form, **options)
    data = buffer.getvalue()
    with Image.open(buffer) as image:
        pixels = np.array(image.convert("L" if len(x) == 1 else "RGB"))  # (H, W) or (H, W, C)
    decoded = torch.from_numpy(pixels).view(*x.shape[1:], len(x)).permute(2, 0, 1)  # (C, H, W)
    return PeerFile(len(data), payload(data), decoded.float() / 255)


def _code_clip(codec: str, payload: Callable[[bytes], int], x: Tensor, crf: int) -> PeerFile:
    """Code a clip as a Matroska file, with half as many rows and columns of colours as it has.

    Args:
        codec: name of FFmpeg's encoder.
        payload: tells how many bytes of a packet are no head.
        x: (C, T, H, W) in [0, 1], C 1 or 3; an odd side gets its last row or column twice.
        crf: constant rate factor.
    """
    pixels = (x.expand(3, -1, -1, -1) * 255).round().byte().permute(1, 2, 3, 0).numpy()
    odd = [(0, 0), (0, x.shape[2] % 2), (0, x.shape[3] % 2), (0, 0)]
    pixels = np.pad(pixels, odd, mode="edge")  # (T, H', W', 3)
    buffer, inside = io.BytesIO(), 0
    options = OPTIONS[codec] | {"crf": str(crf)}
    with _quiet(), av.open(buffer, "w", format="matroska", options={"fflags": "+bitexact"}) as file:
        stream = cast(VideoStream, file.add_stream(codec, rate=RATE, options=options))
        stream.height, stream.width = pixels.shape[1:3]
        stream.pix_fmt = "yuv420p"
        frames = [av.VideoFrame.from_ndarray(picture, format="rgb24") for picture in pixels]
        for frame in [*frames, None]:
            for packet in stream.encode(frame):
                inside += payload(bytes(packet))
                file.mux(packet)
    size = buffer.tell()
    buffer.seek(0)
    with av.open(buffer, "r") as written:
        got = np.stack([frame.to_ndarray(format="rgb24") for frame in written.decode(video=0)])
    clip = torch.from_numpy(got).permute(3, 0, 1, 2).float() / 255  # (3, T, H', W')
    clip = clip[:, :, : x.shape[2], : x.shape[3]]
    return PeerFile(size, inside, clip.mean(0, keepdim=True) if len(x) == 1 else clip)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep SVT-AV1 from writing on the terminal: it asks the environment alone."""
    before = os.environ.get("SVT_LOG")
    os.environ["SVT_LOG"] = "1"  # errors
    try:
        yield
    finally:
        if before is None:
            del os.environ["SVT_LOG"]
        else:
            os.environ["SVT_LOG"] = before


def _video(codec: str, payload: Callable[[bytes], int], worst: int) -> Peer:
    """Return one of FFmpeg's encoders, through PyAV."""
    missing = "" if codec in av.codecs_available else f"this PyAV has no {codec}"
    return Peer(partial(_code_clip, codec, payload), worst, 0, missing)


IMAGES: dict[str, Peer] = {
    "jpeg": _image("JPEG", jpeg_payload, optimize=True),
    "jpeg2000": Peer(
        _jpeg2000, 30, 600, "" if features.check("jpg_2000") else "this Pillow has no JPEG 2000"
    ),
    "webp": _image("WEBP", webp_payload, method=6),
    "avif": _image("AVIF", avif_payload, speed=4),
}
VIDEOS: dict[str, Peer] = {
    "x264": _video("libx264", x264_payload, 51),
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
