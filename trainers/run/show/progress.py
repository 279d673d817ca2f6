"""How far the work is: a bar on the terminal, and status.json for everyone else."""

import sys
import time
from contextlib import suppress

from tqdm import tqdm

from trainers.run.folder.folder import RunFolder

PAUSE = 1.0  # seconds between two rewrites of status.json and of the stopwatch's file


class Progress:
    """A stage of work with a known number of items, used as a context manager."""

    def __init__(self, folder: RunFolder, stage: str, *, total: int, done: int = 0) -> None:
        """Begin a stage, or go on with it where `done` items are finished."""
        self.folder, self.stage, self.total, self.done = folder, stage, total, done
        self._written = 0.0
        self._unkept = False  # whether items were finished whose time is not kept yet

    def __enter__(self) -> "Progress":
        """Show the stage."""
        self.folder.at_work = True
        hidden = not sys.stderr.isatty()
        self._bar = tqdm(
            desc=self.stage, total=self.total, initial=self.done, leave=False, disable=hidden
        )
        self._write()
        return self

    def step(self) -> None:
        """Count one finished item.

        Raises:
            LostFolder: when the run folder is another run's by now.
        """
        self.folder.check_held()
        self.done += 1
        self.folder.items += 1
        self._bar.update()
        self._unkept = True
        if time.monotonic() - self._written > PAUSE:
            self._write()
            self._keep_time()

    def _write(self) -> None:
        """Rewrite status.json."""
        progress = {"done": self.done, "of": self.total}
        self.folder.status("running", stage=self.stage, progress=progress)
        self._written = time.monotonic()

    def _keep_time(self) -> None:
        """Save how long the finished items took."""
        if self._unkept and self.folder.stopwatch:
            self.folder.stopwatch.keep()
        self._unkept = False

    def __exit__(self, *error: object) -> None:
        """Take the bar away."""
        self._bar.close()
        if self.folder.claim.held:
            with suppress(OSError):  # a full disk must not hide what went wrong
                self._keep_time()
