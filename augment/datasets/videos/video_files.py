"""From video files that nobody has checked to clips of one shape."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
import torch
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image
from torch import Tensor

from augment.datasets.images.images import Appearance, ImageForm
from augment.datasets.videos.video_formats import FORMATS, describe_missing_end, orient

MOST_PIXELS = 2**24  # of a frame, 4096 x 4096
MOST_FRAMES = 36_000  # 20 minutes at 30 frames a second
MOST_SECONDS = 3600
MOST_STREAMS = 32
MOST_BYTES = 4 * 2**30
_CODECS = frozenset(
    (
        "apng", "av1", "cfhd", "cinepak", "dnxhd", "dvvideo", "ffv1", "ffvhuff", "flv", "gif",
        "h261", "h263", "h263p", "h264", "hevc", "huffyuv", "jpeg2000", "libdav1d", "libvpx",
        "libvpx-vp9", "mjpeg", "mpeg1video", "mpeg2video", "mpeg4", "msmpeg4", "msmpeg4v1",
        "msmpeg4v2", "png", "prores", "rawvideo", "rv10", "rv20", "rv30", "rv40", "svq1", "svq3",
        "theora", "utvideo", "vc1", "vp3", "vp6", "vp6a", "vp6f", "vp8", "vp9", "vvc", "wmv1",
        "wmv2", "wmv3",
    )
)  # fmt: skip
_UNKNOWN = "no whole video of a known format, such as mp4, avi, webm, mkv, mpg, wmv and gif"
_WHOLE = 0.9  # a file with a smaller share of the frames it promises is cut off


@dataclass(frozen=True)
class VideoHeader(Appearance):
    """The look of a decoded file, and how many frames it has."""

    frames: int


def probe(path: Path | str) -> VideoHeader:
    """Decode a video to its end; the frames and sizes in its header are not trusted.

    Raises:
        ValueError: The file is no whole video, or one that is too large.
        OSError: It is not a file that can be read.
    """
    with _open_video(path) as (container, stream):
        first = last = None
        count = 0
        for last in _decode_frames(container, stream):
            first, count = first or last, count + 1
        if first is None or last is None:
            raise _truncation_error(path) or ValueError("not one frame can be decoded")
        rate = float(stream.average_rate or 0)
        promised = stream.frames or round(_seconds(container, stream) * rate)  # 0: none
        if count < _WHOLE * promised - 1 and not _lasts_as_promised(container, stream, first, last):
            if container.format.name == "gif":  # whole, see `_check_trailer`
                raise ValueError(
                    f"{count} of its {promised} frames can be told apart: some have no delay; give "
                    "them one"
                )
            raise ValueError(f"cut off: {count} frames of the {promised} that its header promises")
        height, width = orient(first, np.empty((first.height, first.width), np.bool_)).shape
        return VideoHeader(height, width, not first.format.name.startswith("gray"), count)


def read_clips(path: Path | str, form: ImageForm, wanted: Sequence[Sequence[int]]) -> Tensor:
    """Decode clips of a video, `(clips, C, T, H, W)` uint8; raises like `probe`.

    Args:
        path: The file.
        form: The form that frames are brought to.
        wanted: The numbers of the frames of each clip; all clips have as many.
    """
    needed = {number for clip in wanted for number in clip}
    last = max(needed)
    kept: dict[int, Tensor] = {}
    with _open_video(path) as (container, stream):
        for number, frame in enumerate(_decode_frames(container, stream)):
            if number in needed:
                kept[number] = form(_to_upright_image(frame))  # (C, H, W)
            if number == last:
                break
    if last not in kept:
        raise ValueError(f"has no frame {last}; it changed after its frames were counted")
    clips = [torch.stack([kept[number] for number in clip], 1) for clip in wanted]  # (C, T, H, W)
    return torch.stack(clips)  # (clips, C, T, H, W)


@contextmanager
def _open_video(path: Path | str) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file and its first video stream; FFmpeg's errors come out as ValueError."""
    if not os.path.isfile(path):  # a pipe would block, a device never end
        raise OSError("not a regular file that can be read")
    size = os.path.getsize(path)
    if not 0 < size <= MOST_BYTES:
        raise ValueError(f"{size} bytes; from 1 to {MOST_BYTES} are read" if size else "empty file")
    options = {"format_whitelist": ",".join(FORMATS), "max_pixels": str(MOST_PIXELS)}
    # A name would be taken for an address where it looks like one; an open file has none.
    with open(path, "rb") as file, ExitStack() as opened:
        try:
            with _translate_errors(_UNKNOWN):
                container = av.open(_SeekableFile(file), "r", options=options)
            opened.enter_context(container)
            _check_trailer(container, path)
            stream = _select_stream(container)
        except ValueError as error:
            raise _truncation_error(path) or error from error.__cause__
        with _translate_errors("cannot be decoded to its end"):
            yield container, stream


class _SeekableFile:
    """A file for FFmpeg whose impossible seeks return an answer instead of raising."""

    def __init__(self, file: BinaryIO) -> None:
        """Remember the file."""
        self.read, self.tell, self._file = file.read, file.tell, file

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Seek, and return the new position; below 0 where seeking is not possible."""
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError):
            return -1


def _truncation_error(path: Path | str) -> ValueError | None:
    """Make the error of a truncated file; None where no truncation is found."""
    missing = describe_missing_end(path)
    return None if missing is None else ValueError(f"cut off or damaged: {missing}")


@contextmanager
def _translate_errors(words: str) -> Iterator[None]:
    """Translate FFmpeg's errors to OSError and ValueError."""
    try:
        yield
    except av.FFmpegError as error:
        # What may pass, a disk or memory at its end, is not held against the file.
        kind = OSError if isinstance(error, OSError | MemoryError) else ValueError
        raise kind(f"{words} ({error.strerror})") from error


def _check_trailer(container: InputContainer, path: Path | str) -> None:
    """Check the end of a GIF, which promises no number of frames, but ends in a semicolon."""
    if container.format.name != "gif":
        return
    with open(path, "rb") as file:
        file.seek(max(os.path.getsize(path) - 64, 0))
        tail = file.read()
    if not tail.rstrip(b"\0\r\n").endswith(b";"):
        raise ValueError("cut off: the end of the GIF is missing")


def _select_stream(container: InputContainer) -> VideoStream:
    if len(container.streams) > MOST_STREAMS:
        raise ValueError(f"{len(container.streams)} streams; at most {MOST_STREAMS} are read")
    videos = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not videos:
        if not container.streams:
            raise ValueError("no video in it, nor anything else: it is empty, damaged or cut off")
        raise ValueError("no video in it, only sound, text or a cover")
    stream = videos[0]
    codec = getattr(getattr(stream, "codec_context", None), "name", "unknown")
    if codec not in _CODECS:
        raise ValueError(f"its codec ({codec}) is not among those that are read: encode it as h264")
    _check_size(stream.codec_context.width, stream.codec_context.height)
    seconds = (container.duration or 0) / av.time_base
    if seconds > MOST_SECONDS:
        raise ValueError(f"{seconds:.0f} seconds; at most {MOST_SECONDS} are read: cut it")
    # Files are decoded side by side; threads within a file would only add memory.
    stream.codec_context.thread_count = 1
    stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}
    return stream


def _check_size(width: int, height: int) -> None:
    if not width * height:  # FFmpeg's own answer to what is above its limit, too
        raise ValueError(f"its frames have no size, or more than {MOST_PIXELS} pixels")
    if width * height > MOST_PIXELS:
        raise ValueError(f"frames of {width} x {height} pixels; at most {MOST_PIXELS} are read")


def _decode_frames(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Decode the frames in display order; each is checked, for sizes change within files."""
    for number, frame in enumerate(container.decode(stream)):
        _check_size(frame.width, frame.height)
        if number >= MOST_FRAMES:
            raise ValueError(f"more than {MOST_FRAMES} frames; cut it into shorter videos")
        yield frame


def _seconds(container: InputContainer, stream: VideoStream) -> float:
    """Return the duration in the header in seconds; 0 where there is none."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if container.duration and len(container.streams) == 1:  # else the sound may be longer
        # Matroska counts from 0, whenever the first frame comes.
        return (container.duration - (container.start_time or 0)) / av.time_base
    return 0.0


def _lasts_as_promised(
    container: InputContainer, stream: VideoStream, first: VideoFrame, last: VideoFrame
) -> bool:
    """Tell whether the frames are as long on show as the header promises.

    Whole files may have fewer of them: where their rate varies, or an edit list hides some.
    """
    seconds, rate = _seconds(container, stream), float(stream.average_rate or 0)
    # A cut AVI has lost its index, and with it the times of its frames.
    if first.time is None or last.time is None or container.format.name in ("avi", "gif"):
        return False
    return seconds > 0 < rate and last.time - first.time + 1 / rate >= _WHOLE * seconds


def _to_upright_image(frame: VideoFrame) -> Image.Image:
    grey = frame.format.name.startswith("gray")
    pixels = frame.to_ndarray(format="gray" if grey else "rgb24")  # (H, W) or (H, W, 3)
    return Image.fromarray(np.ascontiguousarray(orient(frame, pixels)))
