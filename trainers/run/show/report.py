"""report.html: one file that shows a run and needs nothing beside it; see the folder templates."""

import base64
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from trainers.run.cli.command import resume_command
from trainers.run.folder.atomic import write_text
from trainers.run.folder.claim import REPORT
from trainers.run.folder.folder import RunFolder

# What outcome.html shows where a job has it.
OPTIONAL: dict[str, Any] = {"messages": (), "pictures": (), "rows": (), "meanings": {}}


def write_report(
    folder: RunFolder,
    template: str,
    content: Mapping[str, Any],
    *,
    config: str,
    finished: bool = True,
) -> None:
    """Write report.html.

    Args:
        folder: the run.
        template: a file of the folder templates.
        content: the variables of the template.
        config: the options as TOML.
        finished: whether the run is; else the report says how to go on with it.
    """
    board = shlex.join(["tensorboard", "--logdir", str(folder.path / "tensorboard")])
    resume = [] if finished else [resume_command(folder.path)]
    common = {
        "start": Markup(REPORT),  # by which a report of ours is known
        "title": f"{folder.job}: {folder.path.name}",
        "commands": [*resume, board],
        "config": config,
    }
    text = TEMPLATES.get_template(template).render({**OPTIONAL, **content, **common})
    write_text(folder.path / "report.html", text, errors="backslashreplace")  # any file name


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
TEMPLATES.filters["data_uri"] = data_uri
