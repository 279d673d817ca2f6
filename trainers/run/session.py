"""The session around a job: run folder, logs, threads, status, exit."""

import ctypes
import logging
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from importlib.metadata import version
from itertools import chain, count
from pathlib import Path
from typing import TextIO

import torch
from tqdm import tqdm

from attacks import RefusedInput
from trainers.run import errors
from trainers.run.cli.command import command_line, resume_command
from trainers.run.cli.parsing import ParsedCommand
from trainers.run.folder.atomic import digest, is_present, write_json
from trainers.run.folder.completeness import files_of
from trainers.run.folder.folder import RunFolder, begun, open_folder
from trainers.run.folder.input_digests import check_apart
from trainers.run.folder.record import damage_told
from trainers.run.show.closing import list_places
from trainers.run.show.outcome import outcome

log = logging.getLogger(__name__)
PACKAGES = ("torch", "torchvision", "numpy", "kornia", "safetensors", "tyro")
TINY = 1024  # values in a sample for which a second thread costs more than it brings

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h


@contextmanager
def session(start: ParsedCommand, words: Sequence[str]) -> Iterator[RunFolder | None]:
    """Open the run folder, and keep status.json and log.txt true whatever happens in the body.

    Yields:
        The folder; None when the run there is finished, whose outcome is then shown again.
    """
    run = start.config.run
    path = folder_path(start)
    with show_on_terminal():
        folder = open_folder(path, start.job, start.config, resume=run.resume)
        with folder.claim.lock:
            if folder.finished:
                folder.inputs.check_files(start.config)  # what is shown is what these gave
                log.info("%s is finished; its outcome:\n%s", path, read_outcome(folder))
                yield None
                return
            file = QuietFileHandler(path / "log.txt")
            file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
            with attach_handler(file, logging.DEBUG), report_status(folder):
                if folder.fresh:
                    check_apart(start.config, path)
                else:
                    log.info("going on with the run in %s", path)
                write_environment(path, words)
                folder.inputs.check_files(start.config)
                keep_freed_memory()
                choose_device(run.device)  # refused at once, also by jobs with no use for it
                torch.backends.cudnn.deterministic = True
                yield folder


@contextmanager
def report_status(folder: RunFolder) -> Iterator[None]:
    """Write into status.json how the body ends; where it is refused before any work, undo it."""
    folder.status("running", stage="start", exit=None)
    try:
        with refuse_wrong_kind(folder.path):
            yield
    except BaseException as error:
        told = errors.Failed(error) if failed_midway(error, folder) else error
        code = errors.exit_code(told)
        state = {errors.DONE: "waiting", errors.FAILED: "failed"}.get(code, "refused")
        if isinstance(error, errors.STOPPED):
            state = "interrupted"
        log.debug("stopped", exc_info=error)
        with suppress(OSError):  # a full disk must not hide what went wrong
            folder.status(state, exit=code, message=errors.sentence(told))
        if folder.claim.held and (state in ("interrupted", "failed") or begun(folder.path)):
            log.info("to go on: %s", resume_command(folder.path))
        if state == "refused" and folder.claim.new and not begun(folder.path):
            folder.claim.undo()
        if told is error:
            raise
        raise told from error
    log.debug("what the run left:\n%s", list_places(folder.path))
    files, summary = files_of(folder.path), digest(folder.summary())
    folder.status("finished", exit=errors.DONE, files=files, summary=summary)


@contextmanager
def refuse_wrong_kind(path: Path) -> Iterator[None]:
    """Refuse a folder that stands in the place of a file that the body writes, or the reverse.

    Raises:
        RefusedInput: naming it, where it is in the run folder.
    """
    try:
        yield
    except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        name = error.filename2 or error.filename  # of a file that was to be renamed: to what
        if isinstance(name, str | os.PathLike) and (place := Path(name)).is_relative_to(path):
            is_present(place if isinstance(error, IsADirectoryError) else place / "any file")
        raise


def read_outcome(folder: RunFolder) -> str:
    """Return the outcome of a finished run.

    Raises:
        RefusedInput: when its summary.json is damaged.
    """
    with damage_told(folder.path / "summary.json"):
        return outcome(folder)


def failed_midway(error: BaseException, folder: RunFolder) -> bool:
    """Tell whether work that had begun failed, whatever the error would mean before it.

    That is: the user's code asked to exit; work had begun, and the error is none that
    this program raises; or items of work were finished, and it is about no file of the run.
    """
    if isinstance(error, SystemExit):
        return True
    if not isinstance(error, ValueError | RefusedInput | errors.Waiting):
        return False
    if folder.at_work and not errors.is_ours(error):
        return True
    refused = not isinstance(error, errors.Waiting)
    return refused and folder.items > 0 and f"{folder.path}{os.sep}" not in str(error)


def folder_path(start: ParsedCommand) -> Path:
    """Return the folder of a run, named after the time and the job where it is not given.

    Raises:
        ValueError: when --run-dir and --resume name two folders.
    """
    run = start.config.run
    if run.resume in ("auto", "never"):
        if run.run_dir:
            return Path(run.run_dir)
        # Another run may be of the same second.
        return unused(Path("runs", f"{time.strftime('%Y%m%d-%H%M%S')}-{start.job}"))
    if run.run_dir and Path(run.run_dir).resolve() != Path(run.resume).resolve():
        raise ValueError(
            f"--run-dir {run.run_dir} and --resume {run.resume} are two folders; give one of them"
        )
    return Path(run.resume)


def unused(first: Path) -> Path:
    """Return a path, or the first with -2, -3, ... behind its name that is not taken."""
    later = (first.with_name(f"{first.name}-{n}") for n in count(2))
    return next(path for path in chain([first], later) if not os.path.lexists(path))


class QuietStreamHandler(logging.StreamHandler[TextIO]):
    """A handler that says nothing when a pipe is closed or a disk full: the work goes on."""

    def format(self, record: logging.LogRecord) -> str:
        """Escape what the stream cannot hold, such as file names that are no UTF-8."""
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        return super().format(record).encode(encoding, "backslashreplace").decode(encoding)

    def handleError(self, record: logging.LogRecord) -> None:
        """Let the message go."""


class TerminalHandler(QuietStreamHandler):
    """A handler whose lines stand above the bars that are shown."""

    def emit(self, record: logging.LogRecord) -> None:
        """Take the bars away, write the line, and show them again below it."""
        with tqdm.external_write_mode(file=self.stream):
            super().emit(record)


class QuietFileHandler(QuietStreamHandler, logging.FileHandler):
    """A file handler that says nothing when the disk is full: the work goes on."""


def show_on_terminal() -> AbstractContextManager[None]:
    """Show what our packages tell while the body runs."""
    return attach_handler(TerminalHandler(sys.stdout), logging.INFO)


@contextmanager
def attach_handler(handler: logging.Handler, level: int) -> Iterator[None]:
    """Give our packages' loggers a handler for the body, which takes messages from a level on."""
    handler.setLevel(level)
    loggers = [logging.getLogger(name) for name in ("trainers", "augment", "attacks")]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        with suppress(OSError):
            handler.close()


def write_environment(path: Path, words: Sequence[str]) -> None:
    """Note the command line and the machine."""
    with (path / "command.txt").open("a") as file:
        file.write(command_line(words) + "\n")
    environment = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "packages": {name: version(name) for name in PACKAGES},
    }
    write_json(path / "environment.json", environment)


def choose_device(name: str) -> torch.device:
    """Return the device of --device.

    Raises:
        ValueError: for cuda where there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device is cuda, but torch sees no CUDA device; use --device cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def choose_threads(threads: int, values: int) -> None:
    """Set torch's threads; 0 takes one for tiny samples of so many values, else all cores."""
    torch.set_num_threads(threads or (1 if values <= TINY else os.cpu_count() or 1))


def keep_freed_memory() -> None:
    """Let glibc keep the large blocks that are freed, for the next step; elsewhere do nothing.

    By default it gives each block above 32 MB back to the system and is given a new one, page by
    page: a pass of 32 photographs through a MobileNet and back takes 1.8 times as long. A setting
    of the user's, in MALLOC_* or GLIBC_TUNABLES, stands.
    """
    if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return
    with suppress(OSError, AttributeError, TypeError):  # another C library, or another system
        mallopt = ctypes.CDLL(None).mallopt
        # Older ones take 32 MB at most. Without it the trim threshold alone would do harm.
        if any(mallopt(M_MMAP_THRESHOLD, size) for size in (2**30, 2**25)):
            mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
