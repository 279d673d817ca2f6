"""metrics.jsonl, one line for each thing measured, kills or not; and the time that work took."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainers.run.folder import atomic

Line = dict[str, Any]
LAST = 2**53  # step or time: TensorBoard keeps 64 bits


def read_line(path: Path, number: int, text: bytes) -> Line:
    """Return the measurement that a line holds.

    Raises:
        RefusedInput: when it holds none.
    """
    line: Line = atomic.parse_json(path, text, dict)
    if not (
        line.keys() == {"name", "step", "time", "values"}
        and isinstance(line["name"], str)
        and _is_whole(line["step"])
        and type(line["time"]) in (int, float)
        and 0 <= line["time"] < LAST
        and isinstance(line["values"], dict)
        and all(type(v) is float or _is_whole(v) for v in line["values"].values())
    ):
        raise atomic.damaged_file(path, f"line {number} is no measurement")
    return line


def _is_whole(value: object) -> bool:
    return type(value) is int and abs(value) < LAST


class Metrics:
    """An append-only list of named measurements: `lines`, by name.

    A line is written before the file that marks its item of work as done. A kill in between
    makes the item again, with the same numbers; its line is there already and is not repeated.
    """

    def __init__(self, path: Path) -> None:
        """Open the file; a last line torn by a kill is cut off.

        Raises:
            RefusedInput: when a whole line is none of ours.
        """
        self.path = path
        self.listeners: list[Callable[[Line], None]] = []
        whole, end, torn = (atomic.read_bytes(path) if atomic.is_present(path) else b"").rpartition(
            b"\n"
        )
        texts = enumerate(whole.split(b"\n"), 1) if end else ()
        self.lines = {line["name"]: line for line in (read_line(path, *each) for each in texts)}
        if torn:
            os.truncate(path, len(whole) + len(end))

    def add(self, name: str, *, step: int, values: dict[str, float]) -> None:
        """Append a measurement unless one of that name is there.

        Args:
            name: what was measured, such as "round-001/retrain/epoch-02".
            step: its place on the time axis.
            values: numbers by TensorBoard tag, such as "accuracy/clean".
        """
        if name in self.lines:
            return
        line = {"name": name, "step": step, "time": time.time(), "values": values}
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.lines[name] = line
        for listener in self.listeners:
            listener(line)


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
        self._earlier = atomic.read_json(path, float) if atomic.is_present(path) else 0.0
        if not 0 <= self._earlier < float("inf"):
            raise atomic.damaged_file(path, f"it says {self._earlier} seconds")
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return self._earlier + time.monotonic() - self._started

    def keep(self) -> None:
        """Save the seconds, for a process that may have to go on."""
        atomic.write_json(self.path, self.seconds)
