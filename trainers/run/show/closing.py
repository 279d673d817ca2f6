"""The last lines of a finished run: its report, what it came to, what to do next; and its files."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainers.run.cli.command import command_line
from trainers.run.show.headline import Headline, headlines

# What the jobs leave, and where in the run folder.
PLACES = {
    "run folder": "",
    "report": "report.html",
    "scores": "scores.csv",
    "boxes": "boxes.csv",
    "samples": "samples",
    "codec": "codec.sprt",
    "codes": "codes",
    "contents": "samples.csv",
    "arrays": "samples.npz",
    "points": "points.csv",
    "patches": "patches.csv",
    "neighbours": "neighbours.csv",
    "embedding": "embedding.csv",
    "dissection": "dissection.csv",
    "pairs": "representations.csv",
}
TOLD = 2  # numbers in a line
MADE = ("codec.sprt", "codes", "samples")  # what people run a job for, beside its numbers


def closing_lines(path: Path, summary: Mapping[str, Any]) -> str:
    """Return three lines: the report, the numbers that the run comes to, and what to do next.

    Args:
        path: the run folder.
        summary: its summary.json.
    """
    made = [str(file.relative_to(path)) for file in (*weights_of(path), *map(path.joinpath, MADE))
            if file.exists()]  # fmt: skip
    report = f"{path / 'report.html'}"
    known = [each for each in headlines(summary) if each.value is not None]
    found = "; ".join(map(_sentence, known[:TOLD]))
    board = shlex.join(["tensorboard", "--logdir", str(path / "tensorboard")])
    compare = command_line(["report", path, "OTHER_RUN"])
    return "\n".join(
        [
            f"report  {report}" + (f", beside it {', '.join(made)}" if made else ""),
            f"found   {found or 'nothing that is a number'}",
            f"next    {board}; to compare: {compare}",
        ]
    )


def _sentence(one: Headline) -> str:
    """Return a number with its interval, its n, and what it was before.

    >>> _sentence(Headline("clean accuracy", 0.5, (0.301, 0.699), "20 samples", "round 0: 40.0%"))
    'clean accuracy 50.0% (30-70) of 20 samples (round 0: 40.0%)'
    """
    text = f"{one.name} {one.number if one.interval is None else one.text}"
    text += f" of {one.of}" if one.of else ""
    return f"{text} ({one.before})" if one.before else text


def weights_of(path: Path) -> list[Path]:
    """Return the weights that a run hands over: its best or last classifier, what else it fitted.

    Args:
        path: the run folder.
    """
    best = path / "checkpoints/best.safetensors"
    models = [best] if best.exists() else sorted(path.glob("checkpoints/round-*.safetensors"))[-1:]
    return [*models, *sorted(path.glob("*.safetensors"))]


def list_places(path: Path) -> str:
    """Return what a run left, and where, a line each.

    Args:
        path: the run folder.
    """
    names = [(name, path / file) for name, file in PLACES.items()]
    names += [("weights", file) for file in weights_of(path)]
    names += [("picture", file) for file in sorted(path.glob("figures/*"))]
    return "\n".join(f"{name:<11} {file}" for name, file in names if file.exists())
