"""Whose a folder is: the mark that makes one a run folder, the lock on it, and what undoes both.

A folder is a run folder only if its files say so: its `.lock` holds MARK, which is written before
anything else is. In a folder that holds other things and no mark, nothing is made or changed.
"""

import fcntl
import json
import os
import stat
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

LOCK = ".lock"
MARK = "This is a run folder of Sparring; the command line tells runs by this file.\n"
# What a start makes before any work is done, the mark apart.
START = (
    "config.toml", "command.txt", "environment.json", "inputs.json", "status.json", "log.txt",
    "metrics.jsonl",
)  # fmt: skip
BOARD = "tensorboard"
FOLDERS = ("bank", "checkpoints", "codes", "figures", "gifs", "review", "samples", BOARD)
# What the jobs make once work is done; the files of fitted attacks (*.safetensors) come on top.
RESULTS = (
    "summary.json", "report.html", "scores.csv", "samples.csv", "points.csv", "samples.npz",
    "not_kept.csv", "boxes.csv", "codec.sprt", "codec-delta.sprt", "patches.csv", "neighbours.csv",
    "embedding.csv", "dissection.csv", "representations.csv",
)  # fmt: skip
EVENTS = ".sparring"  # how the names of our event files end
_HEAD = '<!doctype html><html lang="en"><meta charset="utf-8">'
REPORT = _HEAD + '<meta name="generator" content="Sparring">'  # how a report begins
_REPORT_BEFORE = _HEAD + '<meta name="viewport" content="width=device-width"><title>'
TRIES = 100  # at a folder that other processes make and take away at the same time


@dataclass(frozen=True)
class Claim:
    """A run folder that this process has locked.

    Attributes:
        path: the folder.
        lock: its lock, held until it is closed.
        new: whether this process wrote the mark.
        made: the folders that it made for it, outermost first.
        kept: whether the file of the lock was there before.
    """

    path: Path
    lock: TextIO
    new: bool
    made: tuple[Path, ...]
    kept: bool

    @property
    def held(self) -> bool:
        """Tell whether the folder is still the one that was locked."""
        return _is_at(self.lock, self.path / LOCK)

    def undo(self) -> None:
        """Take away what a start made in a new folder, by name, and folders that then are empty.

        Whatever else is there stays.
        """
        for name in START:
            (self.path / name).unlink(missing_ok=True)
        with suppress(OSError):
            for file in events(self.path / BOARD):
                file.unlink()
            (self.path / BOARD).rmdir()
        if self.kept:
            os.truncate(self.lock.fileno(), 0)
        else:
            (self.path / LOCK).unlink(missing_ok=True)
        _remove_empty(self.made)


def claim(path: Path) -> Claim:
    """Lock a run folder, or make one of a folder that is empty or not there yet.

    Of several processes that make the same folder exactly one gets it.

    Raises:
        ValueError: when the folder holds other things, or another process works there.
        OSError: when it cannot be made or written to.
    """
    for _ in range(TRIES):
        check_ours(path)
        try:
            made = _make(path)
        except FileNotFoundError:  # a parent was taken away again
            continue
        try:
            if got := _take(path, made):
                return got
        except BaseException:
            _remove_empty(made)
            raise
    raise ValueError(f"{path} is taken away as often as it is made; choose another --run-dir")


def check_ours(path: Path) -> None:
    """Refuse a folder that holds something and is no run folder; one not there yet passes.

    Raises:
        ValueError: naming it.
    """
    if not path.exists():
        return
    others = [name for name in os.listdir(path) if name != LOCK]  # listed first: see MARK
    text = _read(path / LOCK)
    unfinished = text != MARK and MARK.startswith(text or "")  # a mark torn by a kill, or none
    if text == MARK or (unfinished and (not others or _made_before_marks(path))):
        return
    raise ValueError(
        f"{path} is no run folder and not empty (it holds {', '.join(sorted(others)[:3] or [LOCK])}"
        "); nothing in it was touched: choose another --run-dir"
    )


def check_nesting(path: Path) -> None:
    """Refuse a folder among those in which another run keeps, makes again and removes its files.

    Raises:
        ValueError: naming both.
    """
    place = path.resolve()
    for parent in place.parents:
        part = place.relative_to(parent).parts[0]
        if part in FOLDERS and is_run_folder(parent) and not is_run_folder(place):
            raise ValueError(
                f"--run-dir {path} is in {parent / part}, where the run in {parent} makes and "
                "removes files of its own; choose another --run-dir"
            )


def is_run_folder(path: Path) -> bool:
    """Tell whether a folder's files say that a run made it."""
    return path.is_dir() and (_read(path / LOCK) == MARK or _made_before_marks(path))


def check_place(path: Path, *, fresh: bool) -> None:
    """Refuse a run folder in which writing would replace what the run did not make.

    Args:
        path: the folder.
        fresh: whether no work was done there, so that nothing with the name of a result is ours.

    Raises:
        ValueError: naming the file.
    """
    names = [name for name in sorted(os.listdir(path)) if is_named_as_ours(name)]
    for file in (file for name in names for file in (path / name, *_below(path / name))):
        if file.is_symlink():
            raise ValueError(
                f"{file} is a link, and a run writes only inside its own folder; put in its "
                "place what it leads to, or choose another --run-dir"
            )
    for name in names:
        others = fresh and name not in (LOCK, *START, BOARD)
        if not fresh and name == "report.html" and (path / name).is_file():
            ours = (REPORT.encode(), _REPORT_BEFORE.encode())
            others = not (path / name).read_bytes().startswith(ours)
        if others:
            raise ValueError(
                f"{path / name} is there, and no run made it: a run would replace it; move it "
                "away, or choose another --run-dir"
            )


def is_named_as_ours(name: str) -> bool:
    """Tell whether a run makes something of such a name in its folder."""
    return name in (LOCK, *START, *RESULTS, *FOLDERS) or name.endswith(".safetensors")


def events(board: Path) -> list[Path]:
    """Return the event files in a folder of TensorBoard that this program wrote."""
    return sorted(board.glob(f"events.*{EVENTS}")) if board.is_dir() else []


def _make(path: Path) -> tuple[Path, ...]:
    """Make a folder; return those that were made, outermost first."""
    made: list[Path] = []
    for folder in (*reversed(path.parents), path):
        if folder.exists():
            continue
        try:
            folder.mkdir()
        except OSError:
            if not folder.is_dir():  # else another process was quicker
                _remove_empty(tuple(made))
                raise
        else:
            made.append(folder)
    return tuple(made)


def _remove_empty(folders: tuple[Path, ...]) -> None:
    """Remove folders, innermost first, as far as they are empty."""
    with suppress(OSError):
        for folder in reversed(folders):
            folder.rmdir()


def _take(path: Path, made: tuple[Path, ...]) -> Claim | None:
    """Lock a folder and mark it; None where it was taken away meanwhile."""
    place = path / LOCK
    kept = not made and place.exists()
    try:
        lock = os.fdopen(os.open(place, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "r+")
    except FileNotFoundError:
        return None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another process works in {path}; wait for it or stop it") from None
        if not _is_at(lock, place):  # who had it has just taken the folder away
            lock.close()
            return None
        check_ours(path)
        new = lock.read() != MARK
        if new:
            lock.seek(0)
            lock.write(MARK)
            lock.flush()
            os.fsync(lock.fileno())
        return Claim(path, lock, new and len(os.listdir(path)) == 1, made, kept)
    except BaseException:
        lock.close()
        raise


def _is_at(lock: TextIO, place: Path) -> bool:
    """Tell whether an opened file is the one of a name."""
    try:
        return os.path.samestat(os.fstat(lock.fileno()), os.lstat(place))
    except (OSError, ValueError):  # the latter of a lock that was let go of
        return False


def _read(file: Path) -> str | None:
    """Return the text of a lock; None where there is none, "?" for what cannot be one."""
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError:
        return "?"
    with os.fdopen(handle, "rb") as opened:
        if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
            return "?"
        return opened.read(len(MARK) + 1).decode(errors="replace")


def _made_before_marks(path: Path) -> bool:
    """Tell whether config.toml and status.json are of one run, as of runs that have no mark."""
    try:
        status = json.loads((path / "status.json").read_bytes())
        config = tomllib.loads((path / "config.toml").read_text())
    except (OSError, ValueError, RecursionError):
        return False
    return (
        isinstance(status, dict)
        and {"job", "state", "pid", "updated"} <= status.keys()
        and status["job"] == config.get("job")
    )


def _below(path: Path) -> Iterator[Path]:
    """Yield everything below a folder; links are not followed."""
    if path.is_dir() and not path.is_symlink():
        for here, folders, files in os.walk(path):
            yield from (Path(here, name) for name in (*folders, *files))
