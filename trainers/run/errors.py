"""From an exception to one sentence and an exit code."""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

DONE, FAILED, USAGE, REFUSED = 0, 1, 2, 3
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Interrupted(BaseException):
    """A signal asked the program to stop; like KeyboardInterrupt no `except Exception` takes it."""

    def __init__(self, number: int) -> None:
        """Remember the signal's number."""
        super().__init__(signal.Signals(number).name)
        self.number = number


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
    match error:
        case Waiting():
            return DONE
        case Interrupted():
            return 128 + error.number
        case KeyboardInterrupt():  # in the moment before `stoppable`
            return 128 + signal.SIGINT
        case ValueError():
            return USAGE
    from attacks.errors import RefusedInput  # loads torch: not for a mistyped flag

    return REFUSED if isinstance(error, RefusedInput) else FAILED


def sentence(error: BaseException) -> str:
    """Say in one sentence what went wrong and what to do next."""
    if isinstance(error, Interrupted | KeyboardInterrupt):
        return f"stopped by {error or 'SIGINT'}; what was finished is saved"
    if isinstance(error, OSError) and error.errno in FULL:
        return f"the disk is full ({error.filename or 'no space left'}); free some space and resume"
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}; check the path and who may use it"
    if isinstance(error, MemoryError):
        return "out of memory; lower --batch-size"
    if isinstance(error, ValueError | Waiting | OSError) or exit_code(error) == REFUSED:
        return str(error)
    return f"{type(error).__name__}: {error} (--debug shows where)"
