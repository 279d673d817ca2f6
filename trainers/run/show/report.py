"""report.html: one file that shows a run and needs nothing beside it; see the folder templates.

It follows from the files of the run folder alone, so it can be made anew at any time.
"""

import base64
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from trainers.run.cli.command import command_line, resume_command
from trainers.run.folder.atomic import write_text
from trainers.run.folder.claim import REPORT
from trainers.run.folder.record import RunRecord, read_record
from trainers.run.show.reports.attack import attack_report
from trainers.run.show.reports.comparison import comparison
from trainers.run.show.reports.compress import compress_report
from trainers.run.show.reports.detect import detect_report
from trainers.run.show.reports.evaluation import evaluation_report
from trainers.run.show.reports.explain import explain_report
from trainers.run.show.reports.fit import fit_report
from trainers.run.show.reports.network import network_report
from trainers.run.show.reports.parts.charts import inline_file
from trainers.run.show.reports.parts.content import Report
from trainers.run.show.reports.parts.files import files_in
from trainers.run.show.reports.representation import representation_report
from trainers.run.show.reports.rounds import rounds_report

REPORTS: dict[str, Callable[[RunRecord], Report]] = {
    "rounds": rounds_report,
    "fit": fit_report,
    "attack": attack_report,
    "evaluate": evaluation_report,
    "detect": detect_report,
    "explain": explain_report,
    "network": network_report,
    "representation": representation_report,
}


def write_report(path: Path) -> Path:
    """Write report.html of a run.

    Args:
        path: the run folder, in which summary.json and the figures are written.

    Returns:
        The file.

    Raises:
        RefusedInput: when what it is made of is missing or damaged.
    """
    file = path / "report.html"
    # A file name in it may be any bytes.
    write_text(file, render_report(read_record(path)), errors="backslashreplace")
    return file


def render_report(run: RunRecord) -> str:
    """Return the page of a run."""
    new = f"{run.path}-again"
    return TEMPLATES.get_template("report.html").render(
        start=Markup(REPORT),  # by which a report of ours is known
        title=f"{run.job}: {run.name}",
        run=run,
        report=REPORTS.get(run.job, compress_report)(run),
        files=files_in(run.path),
        resume=resume_command(run.path),
        board=shlex.join(["tensorboard", "--logdir", str(run.path / "tensorboard")]),
        again=command_line(
            [*run.job.split("-"), f"--config={run.path / 'config.toml'}", f"--run-dir={new}"]
        ),
    )


def render_comparison(runs: Sequence[RunRecord]) -> str:
    """Return a page that shows several runs side by side.

    Args:
        runs: two at least.
    """
    page = TEMPLATES.get_template("comparison.html")
    return page.render(
        start=Markup(REPORT), title=f"{len(runs)} runs compared", page=comparison(runs)
    )


def data_uri(file: Path) -> str:
    """Return the bytes of a picture as a URI, for a page that needs no file beside it."""
    data = base64.b64encode(file.read_bytes()).decode()
    return f"data:image/{file.suffix.removeprefix('.')};base64,{data}"


# Renders the templates: all that is not HTML already is escaped.
TEMPLATES = Environment(
    loader=PackageLoader("trainers.run.show"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=StrictUndefined,
    keep_trailing_newline=True,
)
TEMPLATES.filters |= {"data_uri": data_uri, "inline_file": inline_file}
