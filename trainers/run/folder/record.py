"""What the folder of a run tells of it, without its classifier and its data."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attacks.errors import RefusedInput
from trainers.run.cli.toml import SEAL, load
from trainers.run.folder import atomic


@dataclass(frozen=True)
class RunRecord:
    """A run as its folder tells of it.

    Attributes:
        path: the folder.
        job: the job's name.
        config: its options as TOML.
        options: the same by the names of their fields; those that are not set are missing.
        summary: summary.json.
        command: the command that began it; "" where it is not known.
    """

    path: Path
    job: str
    config: str
    options: dict[str, Any]
    summary: dict[str, Any]
    command: str

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.path.resolve().name

    @property
    def figures(self) -> Path:
        """The folder of pictures."""
        return self.path / "figures"

    @property
    def over(self) -> bool:
        """Whether the run is; the summary of rounds grows as they are played."""
        return self.summary.get("stopped", "") is not None


def read_record(path: Path) -> RunRecord:
    """Read what a run folder tells.

    Args:
        path: a run folder in which summary.json is written.

    Raises:
        RefusedInput: when config.toml or summary.json is missing, damaged, or was changed.
    """
    file = path / "config.toml"
    options = load(file, own=True)
    job = str(options.pop("job", "rounds"))
    config = file.read_text().rpartition(f"\n{SEAL}")[0] or file.read_text()
    started = path / "command.txt"
    lines = atomic.read_bytes(started).decode(errors="replace") if started.is_file() else ""
    command = (lines.splitlines() or [""])[0]
    return RunRecord(path, job, config, options, read_summary(path), command)


def read_summary(path: Path) -> dict[str, Any]:
    """Return summary.json of a run folder.

    Raises:
        RefusedInput: when it is missing or damaged, or not that of the run that is finished.
    """
    file, status = path / "summary.json", path / "status.json"
    if not atomic.is_present(file):
        raise RefusedInput(f"{file} is gone; delete {status} and resume: it is made again")
    value: dict[str, Any] = atomic.read_json(file, dict)
    known = atomic.read_json(status, dict).get("summary") if atomic.is_present(status) else None
    if known not in (None, atomic.digest(value)):
        changed = "it was changed after it was written, or is another run's"
        raise atomic.damaged_file(file, changed)
    return value


@contextmanager
def damage_told(file: Path) -> Iterator[None]:
    """Let a file of a run that lacks what every such file has be told as damaged.

    Raises:
        RefusedInput: for what a value of another kind, or none, leads to in the body.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise atomic.damaged_file(file, repr(error)) from error
