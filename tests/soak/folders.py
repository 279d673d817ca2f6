"""Whether two run folders hold the same: all their files, byte for byte but for times and paths."""

import csv
import io
import json
import re
import struct
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event

TIMES = ("seconds", "samples_per_second", "time", "updated", "pid")
OF_A_START = ("command.txt", "log.txt")  # a line a start, a time a line
# At the end of a row of the rounds, of their report, of a row of attacks; and the command that
# began a run, which in a copy of its folder names the first one.
TIMED = re.compile(
    r"<td>[\d.]+</td></tr>|\d+ seconds\.| +\d+\.\d$|<p>It was begun with</p>\n<pre>.*</pre>",
    re.MULTILINE,
)


def differences(first: Path, second: Path) -> list[str]:
    """Name the files that only one of two folders has, or that differ in more than times."""
    one, other = (contents(folder) for folder in (first, second))
    return [name for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)]


def contents(folder: Path) -> dict[str, Any]:
    """Return what each file of a folder holds, without times and the folder's own place."""
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    found = {name_of(file, folder): timeless(file, folder) for file in files}
    return {name: value for name, value in found.items() if name not in OF_A_START}


def name_of(file: Path, folder: Path) -> str:
    """Return a file's name in its folder; those of TensorBoard hold times."""
    name = str(file.relative_to(folder))
    return "tensorboard/events" if "events.out" in name else name


def timeless(file: Path, folder: Path) -> Any:
    """Return what a file holds, without times and the folder's own place."""
    data = file.read_bytes()
    if "events.out" in file.name:
        return sorted(event for event in events(data) if not timed(event))  # replayed: no order
    if file.suffix == ".json":
        value = strip(json.loads(data))
        if file.name == "status.json":
            value["files"] = sorted(
                name_of(folder / name, folder) for name in value.get("files", [])
            )
        return None if file.name == "seconds.json" else value
    if file.suffix == ".jsonl":
        return [strip(json.loads(line)) for line in data.splitlines()]
    if file.suffix == ".csv":
        return [strip(row) for row in csv.DictReader(io.StringIO(data.decode()))]
    if file.suffix == ".html":
        return TIMED.sub("", data.decode().replace(str(folder), "").replace(folder.name, ""))
    return data


def strip(value: Any) -> Any:
    """Take measured times out of JSON values."""
    if isinstance(value, dict):
        return {k: strip(v) for k, v in value.items() if k.rpartition("/")[2] not in TIMES}
    return [strip(item) for item in value] if isinstance(value, list) else value


def events(data: bytes) -> list[bytes]:
    """Return the events of a TensorBoard file without the times they were written at."""
    found, place = [], 0
    while place < len(data):
        (length,) = struct.unpack_from("<Q", data, place)
        event = Event.FromString(data[place + 12 : place + 12 + length])
        event.ClearField("wall_time")
        for value in event.summary.value:
            texts = [TIMED.sub("", text.decode()).encode() for text in value.tensor.string_val]
            value.tensor.string_val[:] = texts
        found.append(event.SerializeToString(deterministic=True))
        place += 12 + length + 4
    return found


def timed(event: bytes) -> bool:
    """Tell whether an event shows a time that was measured."""
    values = Event.FromString(event).summary.value
    return any(value.tag.rpartition("/")[2] in TIMES for value in values)
