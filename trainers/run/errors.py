"""From an exception to one sentence and an exit code."""

import errno
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from traceback import walk_tb
from types import FrameType

DONE, FAILED, USAGE, REFUSED = 0, 1, 2, 3
OURS = ("attacks", "augment", "compress", "explain", "trainers")
NO_MEMORY = (
    "out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory",
    "bad_alloc", "storage size calculation overflowed",
)  # fmt: skip
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Interrupted(BaseException):
    """A signal asked the program to stop; no code but ours takes it for something else."""

    def __init__(self, number: int) -> None:
        """Remember the signal's number."""
        super().__init__(signal.Signals(number).name)
        self.number = number


STOPPED = (Interrupted, KeyboardInterrupt)  # the latter before, and after, `stoppable`


class Failed(Exception):
    """Work that had begun failed; what the error would mean before that is no longer so."""

    def __init__(self, error: BaseException) -> None:
        """Say what happened."""
        what = f"{type(error).__name__}: {error}"
        if isinstance(error, SystemExit):
            what = f"the model or another part of your code called exit({error.code!r})"
        super().__init__(what)


class LostFolder(OSError):
    """The run folder is no longer that of this process: it was removed, moved or made anew."""


class Waiting(Exception):
    """The run has to wait for a person; it goes on from here when started again."""


@contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGINT and SIGTERM raise Interrupted in the body.

    No state needs saving then: whatever is finished is on disk, whole, already.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def exit_code(error: BaseException) -> int:
    """Return the exit code that stands for an error.

    >>> exit_code(ValueError("--rounds is -1"))
    2
    >>> exit_code(Interrupted(signal.SIGINT))
    130
    """
    if is_out_of_memory(error):
        return FAILED
    match error:
        case Waiting():
            return DONE
        case Interrupted() | KeyboardInterrupt():  # the latter in the moment before `stoppable`
            return 128 + getattr(error, "number", signal.SIGINT)
        case ValueError():
            return USAGE
    from attacks.errors import RefusedInput  # loads torch: not for a mistyped flag

    return REFUSED if isinstance(error, RefusedInput) else FAILED


def is_out_of_memory(error: BaseException | None) -> bool:
    """Tell whether memory could not be had, be it through Python, torch or the system.

    >>> is_out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    True
    """
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    if isinstance(error, RuntimeError):
        text = str(error).lower()
        return any(sign in text for sign in NO_MEMORY)
    # Of those that were told on with another meaning: a model that could not be built or tried.
    cause = error.__cause__ if error is not None else None
    return isinstance(cause, RuntimeError) and is_out_of_memory(cause)


def is_ours(error: BaseException) -> bool:
    """Tell whether an error was raised by this program, not by the user's code or a library."""
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    name = str(frames[-1].f_globals.get("__name__", "")) if frames else ""
    return name.partition(".")[0] in OURS


def sentence(error: BaseException) -> str:
    """Say in one sentence what went wrong and what to do next."""
    if isinstance(error, STOPPED):
        return f"stopped by {str(error) or 'SIGINT'}; what was finished is saved"
    if isinstance(error, OSError) and error.errno in FULL:
        return f"the disk is full ({error.filename or 'no space left'}); free some space and resume"
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}; check the path and who may use it"
    if is_out_of_memory(error):
        reason = " ".join(str(error).split())[:200]
        return f"out of memory{f' ({reason})' if reason else ''}; lower --batch-size, or --threads"
    if isinstance(error, Failed):
        return f"{error} (--debug shows where)"
    if isinstance(error, ValueError | Waiting | OSError) or exit_code(error) == REFUSED:
        return str(error)
    return f"{type(error).__name__}: {error} (--debug shows where)"
