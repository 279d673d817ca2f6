"""metrics.jsonl: one line for each thing measured, each exactly once, kills or not."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Line = dict[str, Any]


class Metrics:
    """An append-only list of named measurements.

    A line is written before the file that marks its item of work as done. A kill in between
    makes the item again, with the same numbers; its line is there already and is not repeated.
    """

    def __init__(self, path: Path) -> None:
        """Open the file; a last line torn by a kill is cut off."""
        self.path = path
        self.listeners: list[Callable[[Line], None]] = []
        whole = path.read_bytes().rpartition(b"\n") if path.exists() else (b"", b"", b"")
        if whole[2]:
            os.truncate(path, len(whole[0]) + len(whole[1]))
        self.lines: list[Line] = [json.loads(line) for line in whole[0].splitlines()]
        self._names = {line["name"] for line in self.lines}

    def add(self, name: str, *, step: int, values: dict[str, float]) -> None:
        """Append a measurement unless one of that name is there.

        Args:
            name: what was measured, such as "round-001/retrain/epoch-02".
            step: its place on the time axis.
            values: numbers by TensorBoard tag, such as "accuracy/clean".
        """
        if name in self._names:
            return
        line = {"name": name, "step": step, "time": time.time(), "values": values}
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._names.add(name)
        self.lines.append(line)
        for listener in self.listeners:
            listener(line)

    def series(self, tag: str) -> list[tuple[int, float]]:
        """Return (step, value) of every line that has this tag."""
        return [(m["step"], m["values"][tag]) for m in self.lines if tag in m["values"]]
