"""The run folder: all that a run knows, written so that a kill at any moment loses nothing."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from attacks import RefusedInput
from attacks.atomic import SUFFIX, sweep
from trainers.run.atomic import present, read_json, write_json, write_text
from trainers.run.completeness import check_names, is_finished
from trainers.run.errors import FULL
from trainers.run.metrics import Metrics
from trainers.run.parsing import differences
from trainers.run.stopwatch import Stopwatch
from trainers.run.toml import UNSAVED, dump, flat

log = logging.getLogger(__name__)
MOVABLE = UNSAVED | {"device", "threads", "download"}  # may differ when a run goes on


@dataclass
class RunFolder:
    """An opened run folder, locked against other processes until this one ends.

    Attributes:
        path: the folder.
        job: the job's name.
        metrics: metrics.jsonl.
        fresh: whether no work was done there when the folder was opened.
        finished: whether the run was complete then.
        stopwatch: of the work being done, kept each time items of it are finished; or None.
    """

    path: Path
    job: str
    metrics: Metrics
    lock: TextIO
    fresh: bool = True
    finished: bool = False
    stopwatch: Stopwatch | None = None
    _status: dict[str, Any] = field(default_factory=dict)

    @property
    def checkpoints(self) -> Path:
        """Where models and finished items of work are kept."""
        return self.path / "checkpoints"

    @property
    def figures(self) -> Path:
        """Where pictures go."""
        return self.path / "figures"

    def status(self, state: str, **progress: Any) -> None:
        """Rewrite status.json: a state, and what else is known of stage, progress and exit."""
        keep = {} if state == "finished" else self._status
        self._status = keep | {"job": self.job, "state": state, "pid": os.getpid()} | progress
        self._status["updated"] = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        write_json(self.path / "status.json", self._status)

    def summary(self) -> Any:
        """Return summary.json.

        Raises:
            RefusedInput: when it is missing or damaged.
        """
        file = self.path / "summary.json"
        if not present(file):
            status = self.path / "status.json"
            raise RefusedInput(f"{file} is gone; delete {status} and resume: it is made again")
        return read_json(file, dict)


def open_folder(path: Path, job: str, config: Any, *, resume: str) -> RunFolder:
    """Create a run folder, or open one to go on in.

    Args:
        path: the folder; made when missing.
        job: the job's name.
        config: all options; must be those the folder was made with.
        resume: "never" refuses a folder that holds a run.

    Raises:
        ValueError: when another process works there, the folder holds something else, or the
            options differ, or the folder cannot be made or written to.
    """
    with usable(path):
        return _open(path, job, config, resume=resume)


@contextmanager
def usable(path: Path) -> Iterator[None]:
    """Say of a folder that cannot be made or written to that it is the user's choice."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise
        raise ValueError(
            f"--run-dir {path} cannot be used ({error.filename}: {error.strerror}); choose "
            "another folder"
        ) from error


def _open(path: Path, job: str, config: Any, *, resume: str) -> RunFolder:
    """Refuse a folder that is none of ours; lock the others."""
    known = path / "config.toml"
    if not known.exists() and path.exists() and not all(map(is_start, path.iterdir())):
        raise ValueError(f"{path} is no run folder and not empty; choose another --run-dir")
    if known.exists() and resume == "never":
        raise ValueError(f"{path} holds a run; choose another --run-dir, or --resume auto to go on")
    path.mkdir(parents=True, exist_ok=True)
    lock = take_lock(path)
    try:
        return _opened(path, job, config, lock)
    except BaseException:
        lock.close()
        raise


def is_start(file: Path) -> bool:
    """Tell whether a file is all that a start leaves that was killed before its config was there.

    >>> is_start(Path(".config.toml.0a1b2c3d.partial")), is_start(Path("thesis.tex"))
    (True, False)
    """
    return file.name == ".lock" or file.match(f".config.toml.*{SUFFIX}")


def _opened(path: Path, job: str, config: Any, lock: TextIO) -> RunFolder:
    """Check and tidy a folder that this process has locked."""
    sweep(path)
    check_names(path)
    fresh = not begun(path)
    if fresh:
        (path / "metrics.jsonl").unlink(missing_ok=True)
        write_text(path / "config.toml", dump(job, config))
    else:
        check_same(path / "config.toml", job, config)
    metrics = Metrics(path / "metrics.jsonl")
    return RunFolder(path, job, metrics, lock, fresh, is_finished(path))


def begun(path: Path) -> bool:
    """Tell whether any item of work is done in a run folder."""
    return any((path / name).exists() for name in ("checkpoints", "bank"))


def take_lock(path: Path) -> TextIO:
    """Lock a folder; the system lets go of the lock when the process ends, however it ends."""
    file = (path / ".lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ValueError(f"another process works in {path}; wait for it or stop it") from None
    return file


def check_same(file: Path, job: str, config: Any) -> None:
    """Refuse to go on with other options than the run was begun with."""
    from trainers.run.parsing import check_file

    old = {name: None for name in flat(config)} | check_file(file, job, config)
    new = {name: value for name, value in flat(config).items() if name not in MOVABLE}
    if changed := differences(old, new):
        raise ValueError(
            f"{file.parent} was begun with other options ({', '.join(changed)}); "
            "leave them as they were, or choose another --run-dir"
        )
