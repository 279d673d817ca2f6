"""`videofolder:DIR`: video files in class folders, in split folders or not, or just videos."""

import logging
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from augment.dataset import Dataset
from augment.datasets.images.form import common_form, spread_evenly
from augment.datasets.images.images import ImageForm, describe_error
from augment.datasets.images.reading import MOST_MEMORY, try_each
from augment.datasets.labelled import LabelledFiles, find_labelled_files, report_left_out
from augment.datasets.request import Request
from augment.datasets.videos.clips import USUAL_FRAMES, clip_frames, clip_ids
from augment.datasets.videos.video_files import VideoFiles, VideoHeader, read_clips
from augment.datasets.videos.video_formats import video_suffixes
from augment.datasets.videos.video_index import probe_all

logger = logging.getLogger(__name__)
DEFAULT_SIZE = 112
MOST_LOOKED_AT = 2**8  # files of all splits that decide on the form


def read_videofolder(request: Request, *, name: str = "videofolder") -> Dataset:
    """Read one split of a folder of videos.

    Args:
        request: `target` is the folder, laid out as for `imagefolder`.
        name: Name of the dataset.

    Returns:
        Clips as of `cut_clips`.

    Raises:
        ValueError: No folder is given.
        RefusedInput: The folder is missing, has no readable videos or no such split, or a class
            folder is not in the class list.
    """
    samples = None if request.samples is None else -(-request.samples // request.clips)
    files = find_labelled_files(
        request, video_suffixes(), name=name, kind="videos", samples=samples
    )
    return cut_clips(files, request, name=name)


def cut_clips(files: LabelledFiles, request: Request, *, name: str) -> Dataset:
    """Cut clips from the videos of a split.

    Args:
        files: The videos.
        request: How long clips are, how many a video gives, and their size.
        name: Name of the dataset.

    Returns:
        Clips `(C, T, H, W)`, decoded into memory when that takes at most 2 GiB, else when asked
        for; files that are not whole videos are left out and named in `skipped` and the log.

    Raises:
        RefusedInput: None of the videos can be read.
    """
    deciding = spread_evenly(files.everything, MOST_LOOKED_AT)
    known = probe_all(files.root, sorted({*files.paths, *deciding}))
    whole = {path: head for path, head in known.items() if isinstance(head, VideoHeader)}
    frames = request.frames or USUAL_FRAMES
    wanted = {
        path: clip_frames(
            whole[path].frames, frames=frames, stride=request.stride, clips=request.clips
        )
        for path in files.paths
        if path in whole
    }
    broken = {path: head for path in files.paths if isinstance(head := known[path], Exception)}
    if wanted:
        form = common_form(
            [whole[path] for path in deciding if path in whole],
            [whole[path] for path in wanted if path not in {*deciding}],
            request,
            default=DEFAULT_SIZE,
            kind="video",
        )
        pixels, failed = _read_all(wanted, form, frames, request.clips)
        broken |= failed
    lines = {
        i: f"{path}: {describe_error(broken[path])}"
        for i, path in enumerate(files.paths)
        if path in broken
    }
    skipped = report_left_out(files, lines)
    _log_looped(files.root, wanted, whole, (frames - 1) * request.stride + 1)
    place = {path: i for i, path in enumerate(wanted)}
    kept = [i for i, path in enumerate(files.paths) if path not in broken]
    first = torch.tensor([place[files.paths[i]] * request.clips for i in kept])  # (n,)
    return Dataset(
        pixels,
        files.labels[kept].repeat_interleave(request.clips),
        [text for i in kept for text in clip_ids(files.ids[i], request.clips)],
        name=name,
        classes=files.classes,
        skipped=skipped,
        rows=(first[:, None] + torch.arange(request.clips)).flatten(),  # (n * clips,)
    )


def _read_all(
    wanted: Mapping[str, list[list[int]]], form: ImageForm, frames: int, clips: int
) -> tuple[Tensor | VideoFiles, dict[str, Exception]]:
    """Decode clips `(N, C, T, H, W)` uint8 or defer to a reader; return errors by path too."""
    paths = list(wanted)
    on_demand = VideoFiles(
        [path for path in paths for _ in range(clips)],
        [clip for path in paths for clip in wanted[path]],
        form,
        frames=frames,
    )
    if math.prod(on_demand.shape) > MOST_MEMORY:
        return on_demand, {}
    pixels = torch.zeros(on_demand.shape, dtype=torch.uint8)  # (N, C, T, H, W)

    def decode(place: int) -> None:
        path = paths[place]
        pixels[place * clips : (place + 1) * clips] = read_clips(path, form, wanted[path])

    results = try_each(decode, range(len(paths)), threads=os.cpu_count() or 1)
    failed = {p: r for p, r in zip(paths, results, strict=True) if isinstance(r, Exception)}
    return pixels, failed


def _log_looped(
    root: Path, wanted: Iterable[str], whole: Mapping[str, VideoHeader], span: int
) -> None:
    short = [path for path in wanted if whole[path].frames < span]
    if short:
        logger.info(
            "%s: %d videos are shorter than a clip of %d frames and are looped",
            root,
            len(short),
            span,
        )
