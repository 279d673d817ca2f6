"""The options of the command `review`; see `config`."""

from dataclasses import dataclass, field
from typing import Annotated

from tyro.conf import arg

from trainers.run.cli.option import option


@dataclass(frozen=True)
class ReviewFlags:
    """Which samples are reviewed, by whom, and where."""

    run_dir: str | None = None
    """Folder of the run whose bank is reviewed. None: the newest of runs/ that has one."""
    reviewer: str | None = None
    """Name that the decisions are signed with. None: the page asks for it."""
    port: int = option(0, at_least=0, at_most=65535)
    """Port of 127.0.0.1. 0: a free one."""
    open: bool = True
    """Open the page in the browser. --no-open: only print its address."""
    controls: float = option(0.1, at_least=0, below=1)
    """Share of originals that nobody perturbed among what is shown, to measure the reviewer."""
    seed: int = option(0, at_least=0, at_most=2**63 - 1)
    """Seed of the order, and of which originals are shown."""
    export: str | None = None
    """Serve nothing; write a gallery to this file, such as samples.html, that needs no server and
    in which decisions can be marked and saved. None: no gallery."""
    import_decisions: str | None = None
    """Serve nothing; take the decisions of this file, which a gallery saved. None: none."""
    debug: bool = False
    """Show tracebacks."""


@dataclass(frozen=True)
class ReviewConfig:
    """Decide which perturbed samples of a run still show their class."""

    review: Annotated[ReviewFlags, arg(name="review")] = field(default_factory=ReviewFlags)
