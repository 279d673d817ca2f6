"""Video files: formats and suffixes, truncation, and orientation."""

import mimetypes
import os
import struct
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from av.format import ContainerFormat
from av.sidedata.sidedata import SideData
from av.video.frame import VideoFrame
from numpy.typing import NDArray

# Formats that hold all they show; others, such as playlists, may lead to other files and addresses.
FORMATS = (
    "mov", "mp4", "m4a", "3gp", "3g2", "mj2", "avi", "matroska", "webm", "gif", "apng", "asf",
    "dv", "flv", "h264", "hevc", "ivf", "m4v", "mjpeg", "mpeg", "mpegts", "mpegvideo", "mxf", "nut",
    "ogg", "rm", "yuv4mpegpipe",
)  # fmt: skip
# The names that FFmpeg writes these formats by have suffixes that it does not list for reading.
_WRITTEN_AS = ("dvd", "ipod", "mpeg1video", "mpeg2video", "ogv", "vob")
_MORE = frozenset((".divx", ".mpe", ".ogm", ".qt", ".rmvb"))
_NO_VIDEOS = frozenset(  # sound and stills, which are in such formats too
    (".avif", ".heic", ".heif", ".isma", ".m4a", ".m4b", ".mka", ".mks", ".mpa", ".mpo", ".ra",
     ".wma")
)  # fmt: skip
_BOXES = 2**16  # of an mp4 that are looked at


@cache
def video_suffixes() -> frozenset[str]:
    """List the lower-case suffixes of videos with their dot, by FFmpeg and Python's mimetypes."""
    found = set(_MORE)
    for name in (*FORMATS, *_WRITTEN_AS):
        try:
            found |= {f".{suffix}" for suffix in ContainerFormat(name).extensions}
        except ValueError:
            continue  # this FFmpeg is without it
    types = mimetypes.MimeTypes().types_map[True]
    found |= {suffix for suffix, kind in types.items() if kind.startswith("video/")}
    return frozenset(found - _NO_VIDEOS)


def describe_missing_end(path: Path | str) -> str | None:
    """Describe the missing end of an mp4 or AVI file; None for whole files and other formats."""
    end = os.path.getsize(path)
    with open(path, "rb") as file:
        start = file.read(12)
        if start[:4] == b"RIFF" and len(start) == 12:
            size = int.from_bytes(start[4:8], "little")
            return f"it promises {size + 8} bytes and has {end}" if size + 8 > end else None
        if start[4:8] not in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
            return None
        return _describe_missing_box(file, end)


def _describe_missing_box(file: BinaryIO, end: int) -> str | None:
    """Describe the box of an mp4 that exceeds the file, or the missing index; None if whole."""
    place, names = 0, set()
    for _ in range(_BOXES):
        file.seek(place)
        head = file.read(16)
        if not head:
            break
        if len(head) < 8:
            return "it ends within the head of a box"
        size, name = struct.unpack(">I4s", head[:8])
        if size == 1 and len(head) == 16:
            size = struct.unpack(">Q", head[8:])[0]
        size = size if size else end - place  # 0: up to the end
        names.add(name)
        if place + size > end:
            return f"it ends within its {name.decode('latin1')!r}, {place + size - end} bytes early"
        if size < 8:
            return f"a {name.decode('latin1')!r} of {size} bytes is in it"
        place += size
    return None if b"moov" in names else "its index ('moov') is missing"


def orient(frame: VideoFrame, pixels: NDArray[Any]) -> NDArray[Any]:
    """Rotate and flip pixels `(H, W, ...)` by the display matrix of a frame, as FFmpeg does.

    The matrix takes the place (p, q), right and down, to (a p + c q, b p + d q); what is no
    quarter turn is taken for the nearest.
    """
    data = frame.side_data.get("DISPLAYMATRIX")
    if not isinstance(data, SideData):
        return pixels
    a, b, _, c, d = np.frombuffer(bytes(data), "=i4")[:5].tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    return pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
