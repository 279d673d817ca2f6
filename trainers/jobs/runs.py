"""The command `runs`: a table of the runs in a folder, with what each came to."""

import json
import logging
import os
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trainers.run.cli.jobs.report import RunsConfig
from trainers.run.folder.claim import FOLDERS, is_run_folder
from trainers.run.folder.state import state_of
from trainers.run.show.headline import headlines, total_seconds
from trainers.run.show.text_table import format_columns, number

log = logging.getLogger(__name__)
DEPTH = 2  # folders between the one that is given and a run, one less
NONE, DAMAGED = "-", "damaged"
OLDEST = datetime.min.replace(tzinfo=UTC)
Row = dict[str, str]


def run_runs(config: RunsConfig) -> None:
    """List the runs of a folder, the newest last.

    Raises:
        ValueError: for a folder that is not there, or holds no run.
    """
    folder = Path(config.runs.folder)
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}; give the one that runs are in")
    paths = list(find_runs(folder, DEPTH))
    if not paths:
        raise ValueError(f"{folder} holds no runs, also not in its folders; give another")
    described = sorted((describe(path, folder) for path in paths), key=lambda pair: pair[0])
    log.info("%s", format_columns([row for _, row in described]))


def find_runs(folder: Path, depth: int) -> Iterator[Path]:
    """Yield the run folders in a folder, itself, and those in it down to a depth.

    What is in a run folder is its own, and is not looked into.
    """
    if is_run_folder(folder):
        yield folder
        return
    if depth < 0:
        return
    inner: list[str] = []
    with suppress(OSError):  # that may not be read
        inner = sorted(os.listdir(folder))
    for name in inner:
        if name not in FOLDERS and os.path.isdir(folder / name):  # not a link that leads nowhere
            yield from find_runs(folder / name, depth - 1)


def describe(path: Path, base: Path) -> tuple[datetime, Row]:
    """Return when a run was last at work, and its row.

    Args:
        path: the run folder.
        base: that names are relative to.
    """
    status, options = read(path / "status.json"), read(path / "config.toml")
    summary = read(path / "summary.json")
    when = moment(status)
    return when, {
        "run": str(path.relative_to(base)) if path != base else path.resolve().name,
        "job": text(status, "job", options),
        "data": text(options, "data"),
        "model": text(options, "model"),
        "state": state_of(status) or (DAMAGED if status is None else NONE),
        "when": NONE if when == OLDEST else f"{when:%Y-%m-%d %H:%M}",
        "seconds": seconds_of(summary),
        "came to": headline_of(summary),
    }


def read(file: Path) -> dict[str, Any] | None:
    """Return what a file of a run holds: empty where it is not there, None where it is damaged."""
    try:
        data = file.read_bytes()
        value = tomllib.loads(data.decode()) if file.suffix == ".toml" else json.loads(data)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def text(table: dict[str, Any] | None, key: str, other: dict[str, Any] | None = None) -> str:
    """Return a value as a cell, from another table where the first is damaged or lacks it."""
    for each in (table, other):
        if each and isinstance(each.get(key), str):
            return str(each[key])
    return DAMAGED if table is None else NONE


def moment(status: dict[str, Any] | None) -> datetime:
    """Return when status.json was last written, by what it says."""
    try:
        when = datetime.fromisoformat((status or {})["updated"])
        return when if when.tzinfo else when.replace(tzinfo=UTC)
    except (KeyError, TypeError, ValueError):
        return OLDEST


def seconds_of(summary: dict[str, Any] | None) -> str:
    """Return the seconds that a run's work took, as far as its job notes them."""
    with suppress(AttributeError, LookupError, TypeError, ValueError):
        return number(total_seconds(summary or {}), ".0f")
    return DAMAGED


def headline_of(summary: dict[str, Any] | None) -> str:
    """Return the first two numbers that a run came to."""
    if summary == {}:
        return NONE
    with suppress(ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        found = headlines(summary or {})[:2]
        return ", ".join(f"{one.name} {one.text}" for one in found) or NONE
    return DAMAGED
