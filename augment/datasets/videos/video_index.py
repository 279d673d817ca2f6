"""The index cache: the probed header of each video, so that probing is done once."""

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from attacks.files import write_bytes
from augment.datasets.broken import BROKEN, try_each
from augment.datasets.videos.video_files import VideoHeader, probe

logger = logging.getLogger(__name__)
FORMAT = "sparring-videos-3"
_BATCH = 2000  # videos that are counted between two writes of the cache
_Stamp = tuple[int, int]  # size and time of change of a file, in bytes and nanoseconds
_Entry = tuple[_Stamp, VideoHeader | Exception]


def probe_all(
    root: Path, paths: Sequence[str], *, probe: Callable[[str], VideoHeader] = probe
) -> dict[str, VideoHeader | Exception]:
    """Probe every file, or return the error that its decoding raised.

    Files of the size and time of change that the cache knows are not decoded again. The cache is
    a file for each data folder, in the user's folder of caches; the counts of a killed program are
    in that file. One that is damaged or cannot be written costs time, nothing else.

    Args:
        root: The data folder.
        paths: The files, each once.
        probe: Decodes a file.
    """
    place = cache_file(root)
    cached = _read_cache(place) if place else {}
    names = {path: os.path.abspath(path) for path in paths}
    stamps = {path: _stat_file(path) for path in paths}
    known = {
        path: cached[name][1]
        for path, name in names.items()
        if name in cached and cached[name][0] == stamps[path]
    }
    todo = [path for path in paths if path not in known]
    kept = {name: entry for name, entry in cached.items() if os.path.isfile(name)} if todo else {}
    for start in range(0, len(todo), _BATCH):
        part = todo[start : start + _BATCH]
        logger.info("%s: counting the frames of %d videos", root, len(todo) - start)
        headers, errors = try_each(probe, part, threads=os.cpu_count() or 1)
        known |= {**headers, **errors}
        for path in part:
            head = known[path]
            # Errors other than these may pass, such as a disk that is not there.
            if (stamp := stamps[path]) is not None and isinstance(head, VideoHeader | ValueError):
                kept[names[path]] = (stamp, head)
        if place:
            _write_cache(place, kept)
    return known


def cache_file(root: Path) -> Path | None:
    """Return the path of a data folder's index; None where the user has no home."""
    given = os.environ.get("XDG_CACHE_HOME")
    try:
        base = Path(given) if given else Path.home() / ".cache"
    except RuntimeError:
        return None
    name = blake2b(os.fsencode(root.resolve()), digest_size=12).hexdigest()
    return base / "sparring" / f"videos-{name}.json"


def _stat_file(path: str) -> _Stamp | None:
    try:
        about = os.stat(path)
    except OSError:
        return None
    return about.st_size, about.st_mtime_ns


def _read_cache(place: Path) -> dict[str, _Entry]:
    """Read the entries of a cache file; empty where it is missing or damaged."""
    try:
        content = json.loads(place.read_text())
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}")
        return {path: _parse_entry(line) for path, line in content["files"].items()}
    except FileNotFoundError:
        return {}
    except BROKEN as error:
        logger.warning("%s: cannot be read (%s); it is made anew", place, error)
        return {}


def _parse_entry(line: Sequence[Any]) -> _Entry:
    size, changed, about = line
    if isinstance(about, str):
        return (int(size), int(changed)), ValueError(about)
    frames, height, width, colour = (int(value) for value in about)
    if min(frames, height, width) < 1:
        raise ValueError(f"an entry says {about}")
    return (int(size), int(changed)), VideoHeader(height, width, bool(colour), frames)


def _write_cache(place: Path, entries: Mapping[str, _Entry]) -> None:
    def line(stamp: _Stamp, about: VideoHeader | Exception) -> list[Any]:
        if isinstance(about, VideoHeader):
            return [*stamp, [about.frames, about.height, about.width, int(about.colour)]]
        return [*stamp, str(about)]

    content = {"format": FORMAT, "files": {path: line(*e) for path, e in sorted(entries.items())}}
    try:
        write_bytes(place, json.dumps(content).encode())
    except OSError as error:
        logger.info("%s: cannot be written (%s); frames will be counted anew", place, error)
