"""Writing videos: for the eye (mp4, gif), or without loss (mkv to the byte, npz to the float)."""

import io
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
import torch
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from attacks.files import write_bytes

FPS = 25.0
_Frames = NDArray[np.uint8]


def write_video(path: Path, x: Tensor, *, fps: float = FPS) -> None:
    """Write a video in the form that its suffix names, whole or not at all.

    `.mkv` is lossless: FFV1 in RGB or grey gives the rounded bytes back exactly. `.npz` keeps the
    floats, as array `x`, of 32 bits where they have fewer. `.mp4` (H.264, or MPEG-4 without that
    encoder) and `.gif` are for looking: both lose colours, and an mp4 of odd height or width
    repeats its last row or column. Equal videos make equal files.

    Args:
        path: The file; its folder is made.
        x: `(C, T, H, W)` float in [0, 1], C 1 or 3, T at least 1; mkv, mp4 and gif round it to
            bytes.
        fps: Frames a second, from 1 to 100 (an npz has none).

    Raises:
        ValueError: Another suffix, shape or range, or a rate out of range.
        OSError: The disk is full or the folder cannot be written.
    """
    forms: dict[str, Callable[[Tensor, float], bytes]] = {
        ".mp4": _encode_mp4,
        ".mkv": _encode_mkv,
        ".gif": _encode_gif,
        ".npz": _encode_npz,
    }
    if path.suffix.lower() not in forms:
        raise ValueError(f"{path}: cannot write {path.suffix!r}; choose one of {', '.join(forms)}")
    if x.ndim != 4 or x.shape[0] not in (1, 3) or 0 in x.shape:
        raise ValueError(f"video of shape {tuple(x.shape)}; give (C, T, H, W) with C 1 or 3")
    x = x.detach().cpu()
    if not (float(x.min()) >= 0 and float(x.max()) <= 1):  # NaN fails both
        raise ValueError(f"values from {x.min():.4g} to {x.max():.4g}; clamp the video to [0, 1]")
    if not 1 <= fps <= 100:
        raise ValueError(f"fps={fps}; give a rate from 1 to 100")
    write_bytes(path, forms[path.suffix.lower()](x, fps))


def _to_frames(x: Tensor) -> _Frames:
    """Convert a video `(C, T, H, W)` in [0, 1] to `(T, H, W, C)` uint8."""
    rounded = (x.float() * 255).round().to(torch.uint8)
    return rounded.permute(1, 2, 3, 0).contiguous().numpy()


def _encode_npz(x: Tensor, _: float) -> bytes:
    buffer = io.BytesIO()
    plain = x.to(torch.promote_types(x.dtype, torch.float32))  # numpy has no bfloat16
    np.savez_compressed(buffer, x=plain.numpy())
    return buffer.getvalue()


def _encode_gif(x: Tensor, fps: float) -> bytes:
    buffer = io.BytesIO()
    pictures = [Image.fromarray(f[..., 0] if f.shape[2] == 1 else f) for f in _to_frames(x)]
    duration = round(1000 / fps)  # milliseconds
    pictures[0].save(
        buffer, "GIF", save_all=True, append_images=pictures[1:], duration=duration, loop=0
    )
    return buffer.getvalue()


def _encode_mkv(x: Tensor, fps: float) -> bytes:
    return _encode(_to_frames(x), fps, form="matroska", codec="ffv1", colour="bgr0", options={})


def _encode_mp4(x: Tensor, fps: float) -> bytes:
    frames = _to_frames(x)
    odd = [(0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)]
    frames = np.pad(frames, odd, mode="edge").repeat(3 // frames.shape[3], 3)  # (T, H, W, 3)
    codec, options = "mpeg4", {"q": "3"}
    if "libx264" in av.codecs_available:
        codec, options = "libx264", {"crf": "18"}
    return _encode(frames, fps, form="mp4", codec=codec, colour="yuv420p", options=options)


def _encode(
    frames: _Frames, fps: float, *, form: str, codec: str, colour: str, options: dict[str, str]
) -> bytes:
    """Encode frames `(T, H, W, C)`; grey ones stay grey where the form is lossless."""
    grey = frames.shape[3] == 1
    buffer = io.BytesIO()
    # Without this Matroska numbers its files at random.
    with av.open(buffer, "w", format=form, options={"fflags": "+bitexact"}) as container:
        rate = Fraction(fps).limit_denominator(1000)
        stream = cast(VideoStream, container.add_stream(codec, rate=rate, options=options))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "gray" if grey else colour
        for pixels in frames:
            picture = av.VideoFrame.from_ndarray(
                pixels[..., 0] if grey else pixels, format="gray" if grey else "rgb24"
            )
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return buffer.getvalue()
