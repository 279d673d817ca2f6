"""Time that work took, also when several processes did it one after another."""

from __future__ import annotations

import time
from pathlib import Path

from trainers.run.folder.atomic import damaged_file, is_present, read_json, write_json


class Stopwatch:
    """Seconds spent on a piece of work by this process and by those killed at it before."""

    def __init__(self, path: Path) -> None:
        """Begin, or go on from what was kept.

        Args:
            path: where the seconds are kept; remove it when the work is done.

        Raises:
            RefusedInput: when the file there is damaged.
        """
        self.path = path
        self._earlier = read_json(path, float) if is_present(path) else 0.0
        if not 0 <= self._earlier < float("inf"):
            raise damaged_file(path, f"it says {self._earlier} seconds")
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return self._earlier + time.monotonic() - self._started

    def keep(self) -> None:
        """Save the seconds, for a process that may have to go on."""
        write_json(self.path, self.seconds)
