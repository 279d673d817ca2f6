"""How far the work is: bars on a terminal, else a line a minute, and status.json for everyone."""

import logging
import os
import sys
import time
from contextlib import suppress
from typing import Any

from tqdm import tqdm

from trainers.run.folder.folder import RunFolder

log = logging.getLogger(__name__)
PAUSE = 2.0  # seconds between two rewrites of status.json, which wait for the disk: 10 ms each
REDRAW = 0.1  # seconds between two looks of a bar, and so the least between any two tellings
SOON = 3.0  # seconds that a pace is taken from at least: the first steps are slow
LINE = 60.0  # seconds between two lines where there is no terminal
WIDTH = 80  # characters of a terminal that does not say


class Progress:
    """A stage of work with a known number of items, used as a context manager."""

    def __init__(self, folder: RunFolder, stage: str, *, total: int, done: int = 0) -> None:
        """Begin a stage, or go on with it where `done` items are finished."""
        self.folder, self.stage, self.total, self.done = folder, stage, total, done
        self._before, self._item = done, 0.0  # finished by others; share of the running item
        self._began = self._told = time.monotonic()
        self._written = float("-inf")
        self._unkept = False  # whether items were finished whose time is not kept yet
        self._bars: list[tqdm[None]] = []  # all rounds above the stage

    def __enter__(self) -> "Progress":
        """Show the stage."""
        self.folder.at_work = True
        self._began = time.monotonic()
        if self.folder.told is None:
            self.folder.told = self._began
        if sys.stderr.isatty():
            count = 1 if self.folder.plan is None else 2
            # What is empty is drawn at once, and a terminal without a size is told one.
            empty: Any = {"bar_format": " ", "ncols": WIDTH, "nrows": WIDTH, "leave": False}
            self._bars = [tqdm(total=1.0, position=n, **empty) for n in range(count)]
        self._tell(self._began)
        return self

    def within(self, done: int, steps: int) -> None:
        """Tell how far the running item is; what attacks and explanations take as `progress`.

        Args:
            done: steps of it that are done.
            steps: steps in all.
        """
        now = time.monotonic()
        if now - self._told >= REDRAW and 0 <= done <= steps > 0:
            self._item = max(self._item, done / steps)
            self._tell(now)

    def step(self) -> None:
        """Count one finished item.

        Raises:
            LostFolder: when the run folder is another run's by now.
        """
        self.folder.check_held()
        self.done += 1
        self._item = 0.0
        self.folder.items += 1
        self._unkept = True
        now = time.monotonic()
        if now - self._written > PAUSE:
            self._keep_time()
        if now - self._told >= REDRAW or self.done == self.total:
            self._tell(now)

    def _tell(self, now: float) -> None:
        """Redraw the bars; write status.json and the line of a minute where it is time."""
        self._told = now
        share = min((self.done + self._item) / self.total, 1.0) if self.total else 1.0
        left = self._seconds_left(now)
        plan = self.folder.plan
        overall = None if plan is None else plan.ahead(self.stage, share, left)
        if now - self._written > PAUSE:
            self._write(now, left, overall)
        count = f"{self.done}/{self.total}" if self.total > 1 else ""
        lines = [(self.stage, share, count, left)]
        if overall:
            lines.insert(0, ("all rounds", overall[0], "", overall[1]))
        if self.folder.told is not None and now - self.folder.told >= LINE:
            self.folder.told = now
            level = logging.DEBUG if self._bars else logging.INFO
            log.log(level, "%s", "; ".join(_sentence(*line) for line in reversed(lines)))
        for bar, line in zip(self._bars, lines, strict=True) if self._bars else ():
            _draw(bar, *line)

    def _seconds_left(self, now: float) -> float | None:
        """Return the seconds until the stage ends, at the pace so far; None before there is one."""
        fresh, seconds = self.done + self._item - self._before, now - self._began
        if fresh <= 0 or seconds < SOON:
            return None
        return seconds / fresh * (self.total - self.done - self._item)

    def _write(
        self, now: float, left: float | None, overall: tuple[float, float | None] | None
    ) -> None:
        """Rewrite status.json: how far the stage is, and where that is known all of them."""
        progress: dict[str, Any] = {
            "done": self.done,
            "of": self.total,
            "item": round(self._item, 3),
            "seconds_left": None if left is None else round(left),
        }
        if overall:
            share, rest = overall
            progress["all"] = {
                "done": round(share, 3),
                "seconds_left": None if rest is None else round(rest),
            }
        self.folder.status("running", stage=self.stage, progress=progress)
        self._written = now

    def _keep_time(self) -> None:
        """Save how long the finished items took."""
        if self._unkept and self.folder.stopwatch:
            self.folder.stopwatch.keep()
        self._unkept = False

    def __exit__(self, *error: object) -> None:
        """Take the bars away, and remember how long the stage took."""
        for bar in reversed(self._bars):
            bar.close()
        fresh = self.done - self._before
        if self.folder.plan and fresh:
            seconds = time.monotonic() - self._began
            self.folder.plan.note(self.stage, seconds / fresh * self.total)
        if self.folder.claim.held:
            with suppress(OSError):  # a full disk must not hide what went wrong
                self._keep_time()


def _draw(bar: "tqdm[None]", name: str, share: float, count: str, left: float | None) -> None:
    """Show a line: the end of its name in a third of the terminal, a bar, how many, how long."""
    columns = _columns() - 1  # the last column of some terminals begins a new line
    room = max(min(28, columns // 3), 4)
    head = name if len(name) <= room else f"...{name[3 - room :]}"
    tail = ", ".join(text for text in (count, _left(left)) if text)
    text = f"{head:<{room}}".replace("{", "{{").replace("}", "}}")
    bar.bar_format = f"{text} {{percentage:3.0f}}%|{{bar}}| {tail:<22}"
    bar.ncols, bar.n = columns, share
    bar.refresh()


def _sentence(name: str, share: float, count: str, left: float | None) -> str:
    """Return a line for where there is no bar.

    >>> _sentence("fit", 0.256, "2/8", 90.0)
    'fit: 26%, 2/8, 01:30 left'
    """
    return f"{name}: " + ", ".join(text for text in (f"{share:.0%}", count, _left(left)) if text)


def _left(seconds: float | None) -> str:
    """Return a time left as text; "" where it is unknown."""
    return "" if seconds is None else f"{tqdm.format_interval(seconds)} left"


def _columns() -> int:
    """Return how many characters a line of the terminal has."""
    if (told := os.environ.get("COLUMNS", "")).isdecimal() and int(told):
        return int(told)
    with suppress(OSError):
        return os.get_terminal_size(sys.stderr.fileno()).columns or WIDTH
    return WIDTH
