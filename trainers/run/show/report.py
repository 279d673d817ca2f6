"""report.html: one file that shows a run and needs nothing beside it."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from trainers.run.cli.command import command_line
from trainers.run.folder.atomic import write_text
from trainers.run.folder.claim import REPORT
from trainers.run.folder.folder import RunFolder
from trainers.run.show.table import ROUND_TERMS, columns, percent

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 62rem; margin: 2rem auto;
  padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2.2rem }
div { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { text-align: right; padding: .3rem .7rem; border-bottom: 1px solid #ddd;
  white-space: nowrap; font-size: .85rem }
dl { font-size: .85rem; display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem }
dt { font-weight: 600 } dd { margin: 0 }
th { border-bottom: 2px solid #888; font-weight: 600; white-space: normal; vertical-align: bottom }
img { max-width: 100%; height: auto }
pre { background: #f5f5f5; padding: .8rem; overflow-x: auto; font-size: .85rem }
"""

PICTURES = (
    "samples.png",
    "clips.gif",
    "frames.png",
    "loss.png",
)  # of a batch, as `draw_batch` names them


def write_report(folder: RunFolder, summary: Mapping[str, Any], *, config: str) -> None:
    """Write the report of a `rounds` run.

    Args:
        folder: the run; its pictures are embedded.
        summary: summary.json.
        config: the options as TOML.
    """
    rows = summary["rounds"]
    parts = [
        f"<p>{escape(verdict(rows[0], rows[-1]))}</p>",
        f"<p>{escape(ending(summary))}</p>",
        table([columns(row) for row in rows]),
        terms(ROUND_TERMS),
        *(f"<p>{escape(text)}</p>" for row in rows for text in row.get("warnings", [])),
        image(folder.figures / "accuracy.png"),
        "<h2>What the attack does to test samples</h2>",
        "<p>Below each picture: the classifier's answer and its score.</p>",
    ]
    for row in rows:
        stem = f"round-{row['round']:03}"
        parts.append(f"<h3>Round {row['round']}</h3>")
        parts += [image(folder.figures / f"{stem}-{kind}") for kind in PICTURES]
    write_page(folder, parts, config=config, over=summary["stopped"] is not None)


def write_page(folder: RunFolder, parts: Sequence[str], *, config: str, over: bool = True) -> None:
    """Write report.html: a job's own parts, then how to go on and its options.

    Args:
        folder: the run.
        parts: of the job's own, HTML.
        config: the options as TOML.
        over: whether the run is; one that is does not go on.
    """
    title = f"{folder.job}: {folder.path.name}"
    board = shlex.join(["tensorboard", "--logdir", str(folder.path / "tensorboard")])
    resume = [] if over else [command_line(["--resume", folder.path])]
    heading = "<h2>Look closer</h2>" if over else "<h2>Go on</h2>"
    ends = [heading, pre("\n".join([*resume, board])), "<h2>Options</h2>", pre(config)]
    text = page(title, [f"<h1>{escape(title)}</h1>", *parts, *ends])
    write_text(folder.path / "report.html", text, errors="backslashreplace")  # any file name


def verdict(first: Mapping[str, Any], last: Mapping[str, Any]) -> str:
    """Say in a sentence what the rounds changed."""
    robust = ", ".join(
        f"under {name} {value:.1%} -> {last['robust_accuracy'][name]:.1%}"
        for name, value in first["robust_accuracy"].items()
    )
    success = " -> ".join(
        f"{percent(row['attack_success'])} of {row['attackable']}" for row in (first, last)
    )
    return (
        f"Accuracy from round {first['round']} to round {last['round']}: "
        f"clean {first['clean_accuracy']:.1%} -> {last['clean_accuracy']:.1%}, {robust}. "
        f"{last['attack']} succeeds on {success} samples that could be attacked."
    )


def ending(summary: Mapping[str, Any]) -> str:
    """Say whether the run is over, and why."""
    if summary["stopped"] is None:
        return "The run is not over."
    return f"Stopped: {summary['stopped']}. {summary['seconds']:.0f} seconds."


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """Return an HTML table of rows with the same keys."""
    head = "".join(f"<th>{escape(name)}</th>" for name in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row.values()) + "</tr>"
        for row in rows
    )
    return f"<div><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def terms(meanings: Mapping[str, str]) -> str:
    """Return a list of words and what they mean."""
    parts = (f"<dt>{escape(word)}</dt><dd>{escape(text)}</dd>" for word, text in meanings.items())
    return f"<dl>{''.join(parts)}</dl>"


def image(file: Path) -> str:
    """Return a picture, its bytes within the page; nothing when there is none."""
    if not file.exists():
        return ""
    data = base64.b64encode(file.read_bytes()).decode()
    kind = file.suffix.removeprefix(".")
    return f'<p><img alt="{escape(file.stem)}" src="data:image/{kind};base64,{data}"></p>'


def pre(text: str) -> str:
    """Return preformatted text."""
    return f"<pre>{escape(text)}</pre>"


def page(title: str, parts: Sequence[str]) -> str:
    """Return a whole page."""
    return (
        f"{REPORT}"
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{STYLE}</style><body>\n"
        + "\n".join(filter(None, parts))
        + "\n</body></html>\n"
    )
