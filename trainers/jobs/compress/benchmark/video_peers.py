"""Clips coded by FFmpeg's encoders, through PyAV."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

import av
import numpy as np
import torch
from av.video.stream import VideoStream
from torch import Tensor

RATE = 25
# Slow and thorough, and on one thread.
OPTIONS = {
    "libx264": {"preset": "veryslow", "threads": "1"},
    "libsvtav1": {"preset": "4", "svtav1-params": "lp=1"},
}
SLICES = range(1, 6)  # the kinds of H.264 units that hold pictures


def missing_encoder(codec: str) -> str:
    """Say that an encoder is not there; "" where it is."""
    return "" if codec in av.codecs_available else f"this PyAV has no {codec}"


def code_clip(
    x: Tensor, codec: str, crf: int, payload: Callable[[bytes], int]
) -> tuple[int, int, Tensor]:
    """Code a clip as a Matroska file, with half as many rows and columns of colours as it has.

    Args:
        x: (C, T, H, W) in [0, 1], C 1 or 3; an odd side gets its last row or column twice.
        codec: name of FFmpeg's encoder.
        crf: constant rate factor.
        payload: tells how many bytes of a packet are no head.

    Returns:
        Bytes of the file, those of its packets without heads, and the decoded clip, like x.
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
    return size, inside, clip.mean(0, keepdim=True) if len(x) == 1 else clip


def x264_payload(packet: bytes) -> int:
    """Return the bytes of the slices in a packet: its other units are heads and x264's own text."""
    units = packet.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")[1:]
    return sum(len(unit) for unit in units if unit and unit[0] & 31 in SLICES)


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
