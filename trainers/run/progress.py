"""How far the work is: a bar on the terminal, and status.json for everyone else."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from tqdm import tqdm

from trainers.run.folder import RunFolder

PAUSE = 1.0  # seconds between two rewrites of status.json


class Progress:
    """A stage of work with a known number of items, used as a context manager."""

    def __init__(self, folder: RunFolder, stage: str, *, total: int, done: int = 0) -> None:
        """Begin a stage, or go on with it where `done` items are finished."""
        self.folder, self.stage, self.total, self.done = folder, stage, total, done
        self._written = 0.0

    def __enter__(self) -> Progress:
        """Show the stage."""
        hidden = not sys.stderr.isatty()
        self._bar = tqdm(
            desc=self.stage, total=self.total, initial=self.done, leave=False, disable=hidden
        )
        self._write()
        return self

    def step(self) -> None:
        """Count one finished item."""
        self.done += 1
        self._bar.update()
        if time.monotonic() - self._written > PAUSE:
            self._write()

    def _write(self) -> None:
        """Rewrite status.json."""
        progress = {"done": self.done, "of": self.total}
        self.folder.status("running", stage=self.stage, progress=progress)
        self._written = time.monotonic()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the bar away."""
        self._bar.close()
