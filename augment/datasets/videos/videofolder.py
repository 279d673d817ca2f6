"""`videofolder:DIR`: video files in class folders, in split folders or not, or just videos."""

import logging
import os
from collections.abc import Mapping, Sequence
from functools import partial

from torch import Tensor

from augment.dataset import Dataset
from augment.datasets.clips import USUAL_FRAMES, clip_frames
from augment.datasets.images.form import common_form, spread_evenly
from augment.datasets.images.images import ImageForm
from augment.datasets.images.reading import FileSource, read_labelled
from augment.datasets.labelled import LabelledFiles, find_labelled_files
from augment.datasets.request import Request
from augment.datasets.videos.video_files import VideoHeader, read_clips
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
    files = find_labelled_files(request, video_suffixes(), name=name, kind="videos")
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
    root = files.folder.root
    deciding = files.folder.paths(spread_evenly(files.folder.files, MOST_LOOKED_AT))
    known = probe_all(root, sorted({*files.paths, *deciding}))
    whole = {path: head for path, head in known.items() if isinstance(head, VideoHeader)}
    broken = {path: head for path, head in known.items() if isinstance(head, Exception)}
    frames = request.frames or USUAL_FRAMES
    clips_of = partial(clip_frames, frames=frames, stride=request.stride, clips=request.clips)
    wanted = {path: clips_of(whole[path].frames) for path in files.paths if path in whole}
    span = (frames - 1) * request.stride + 1
    if short := sum(head.frames < span for path, head in whole.items() if path in wanted):
        logger.info(
            f"{root}: {short} videos are shorter than a clip of {span} frames and are looped"
        )
    others = [whole[path] for path in wanted.keys() - {*deciding}]
    seen = [whole[path] for path in deciding if path in whole]
    form = common_form(seen, others, request, default=DEFAULT_SIZE, kind="video")
    source = FileSource(
        [*wanted],
        partial(_decode, wanted, form),
        (form.channels, frames, form.height, form.width),
        clips=request.clips,
        threads=os.cpu_count() or 1,
    )
    return read_labelled(files, source, broken, name=name)


def _decode(
    wanted: Mapping[str, list[list[int]]], form: ImageForm, path: str, clips: Sequence[int]
) -> Tensor:
    """Decode clips of a file `(n, C, T, H, W)` uint8, of which the wanted frames are given."""
    return read_clips(path, form, [wanted[path][clip] for clip in clips])
