"""The options of the commands `report` and `runs`; see `config`."""

from dataclasses import dataclass, field
from typing import Annotated

from tyro.conf import Positional, arg


@dataclass(frozen=True)
class ReportFlags:
    """Which runs are shown."""

    runs: Positional[tuple[str, ...]] = ()
    """Folders of runs. One: its report is made anew; several: one page compares them."""
    out: str | None = None
    """File of the page that compares. None: comparison.html in the present folder."""
    debug: bool = False
    """Show tracebacks."""


@dataclass(frozen=True)
class ReportConfig:
    """Make the report of a run anew, or compare several runs."""

    report: Annotated[ReportFlags, arg(name="report")] = field(default_factory=ReportFlags)


@dataclass(frozen=True)
class RunsFlags:
    """Where to look."""

    folder: Positional[str] = "runs"
    """Folder whose runs are listed."""
    debug: bool = False
    """Show tracebacks."""


@dataclass(frozen=True)
class RunsConfig:
    """List the runs of a folder, with what each came to."""

    runs: Annotated[RunsFlags, arg(name="runs")] = field(default_factory=RunsFlags)
