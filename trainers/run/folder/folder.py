"""The run folder: all that a run knows, written so that a kill at any moment loses nothing."""

import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attacks.files import write_bytes
from trainers.run.cli.parsing import check_file
from trainers.run.cli.toml import UNSAVED, dump, flag, flatten, with_digest
from trainers.run.errors import FULL, LostFolder
from trainers.run.folder import atomic
from trainers.run.folder.checkpoint import check_items
from trainers.run.folder.claim import Claim, check_nesting, check_ours, check_place, claim
from trainers.run.folder.completeness import check_names, is_finished, tidy
from trainers.run.folder.input_digests import InputDigests
from trainers.run.folder.metrics import Metrics, Stopwatch
from trainers.run.folder.record import read_summary
from trainers.run.folder.stage_plan import StagePlan

ITEM = re.compile(r"\d{5}\.safetensors|seconds\.json")  # a batch, and how long all of them took
GROWING = ("command.txt", "log.txt", "metrics.jsonl")  # written on, where others are replaced
MOVABLE = UNSAVED | {"device", "threads", "download"}  # may differ when a run goes on


@dataclass
class RunFolder:
    """An opened run folder, locked against other processes until this one ends.

    Attributes:
        path: the folder.
        job: the job's name.
        metrics: metrics.jsonl.
        inputs: inputs.json, what the run reads.
        claim: the lock, and what was made for it.
        fresh: whether no work was done there when the folder was opened.
        finished: whether the run was complete then.
        stopwatch: of the work being done, kept each time items of it are finished; or None.
        at_work: whether a stage of work has begun in this process, or the classifier was found fit.
        items: how many items of work this process has finished.
        plan: the stages of a run of rounds; None of other jobs.
        told: when a line last said how far the work is, or it began; in monotonic seconds.
    """

    path: Path
    job: str
    metrics: Metrics
    inputs: InputDigests
    claim: Claim
    fresh: bool = True
    finished: bool = False
    stopwatch: Stopwatch | None = None
    at_work: bool = False
    items: int = 0
    plan: StagePlan | None = None
    told: float | None = None
    _status: dict[str, Any] = field(default_factory=dict)

    @property
    def checkpoints(self) -> Path:
        """The folder of models and finished items of work."""
        return self.path / "checkpoints"

    @property
    def figures(self) -> Path:
        """The folder of pictures."""
        return self.path / "figures"

    def check_held(self) -> None:
        """Stop before writing into a folder that is another run's by now.

        Raises:
            LostFolder: when it was removed, moved or made anew since it was locked.
        """
        if not self.claim.held:
            raise LostFolder(
                f"{self.path} was removed, moved or made anew while this run worked in it; what "
                "was finished is where the folder is now, and goes on there with --resume"
            )

    def status(self, state: str, **progress: Any) -> None:
        """Rewrite status.json: a state, and what else is known of stage, progress and exit."""
        self.check_held()
        keep = {} if state == "finished" else self._status
        self._status = keep | {"job": self.job, "state": state, "pid": os.getpid()} | progress
        self._status["updated"] = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        atomic.write_json(self.path / "status.json", self._status)

    def summary(self) -> dict[str, Any]:
        """Return summary.json.

        Raises:
            RefusedInput: when it is missing or damaged, or not that of the run that is finished.
        """
        return read_summary(self.path)


def open_folder(path: Path, job: str, config: Any, *, resume: str) -> RunFolder:
    """Create a run folder, or open one to go on in.

    Args:
        path: the folder; made when missing.
        job: the job's name.
        config: all options; must be those the folder was made with.
        resume: "never" refuses a folder that holds a run.

    Raises:
        ValueError: when another process works there, the folder holds something else or links,
            or the options differ, or the folder cannot be made or written to.
    """
    try:
        check_ours(path)
        check_nesting(path)
        if resume == "never" and (path / "config.toml").exists():
            raise ValueError(
                f"{path} holds a run; choose another --run-dir, or --resume auto to go on"
            )
        claimed = claim(path)
        try:
            return _opened(claimed, job, config)
        except BaseException:
            if claimed.new:
                claimed.undo()
            claimed.lock.close()
            raise
    except OSError as error:  # that the folder cannot be made or written to is the user's choice
        if error.errno in FULL:
            raise
        raise ValueError(
            f"--run-dir {path} cannot be used ({error.filename}: {error.strerror}); choose "
            "another folder"
        ) from error


def _opened(claimed: Claim, job: str, config: Any) -> RunFolder:
    """Check and tidy a folder that this process has locked."""
    path = claimed.path
    fresh = not begun(path)
    check_place(path, fresh=fresh)
    check_names(path)
    if not fresh:
        check_same(path / "config.toml", job, config)
    finished = is_finished(path)
    if not finished:
        check_items(path / "checkpoints")
    tidy(path)
    for file in (path / name for name in GROWING):
        if file.is_file() and file.stat().st_nlink > 1:  # a copy of the run shares its inode
            write_bytes(file, file.read_bytes())
    if fresh:
        (path / "metrics.jsonl").unlink(missing_ok=True)
        atomic.write_text(path / "config.toml", with_digest(dump(job, config)))
        atomic.write_json(path / "inputs.json", {})
    metrics, inputs = Metrics(path / "metrics.jsonl"), InputDigests(path / "inputs.json")
    return RunFolder(path, job, metrics, inputs, claimed, fresh, finished)


def remove_items(path: Path) -> None:
    """Remove the finished items of a stage that is over, and the folders that then are empty.

    They are in this folder and in those in it; what is deeper is not ours.
    """
    below = [*path.glob("*/*"), *path.glob("*")]  # files before the folders that they are in
    for file in below:
        if ITEM.fullmatch(file.name):
            file.unlink()
    for folder in (*below, path):
        if folder.is_dir():
            with suppress(OSError):  # it holds something else
                folder.rmdir()


def begun(path: Path) -> bool:
    """Tell whether any item of work is done in a run folder."""
    return any((path / name).exists() for name in ("checkpoints", "bank"))


def check_same(file: Path, job: str, config: Any) -> None:
    """Refuse to go on with other options than the run was begun with.

    An option that is younger than the run has its default there.
    """
    old = flatten(type(config)()) | check_file(file, job, config, own=True)
    changed = [
        f"--{flag(name)} {old[name]} -> {value}"
        for name, value in flatten(config).items()
        if name not in MOVABLE and old[name] != value
    ]
    if changed:
        raise ValueError(
            f"{file.parent} was begun with other options ({', '.join(changed)}); "
            "leave them as they were, or choose another --run-dir"
        )
