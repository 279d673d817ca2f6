"""What a terminal shows: a row a round, and the outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trainers.run.compress_table import compress_lines
from trainers.run.folder import RunFolder

Row = Mapping[str, Any]
# Files of the jobs of `compress` by what they are.
COMPRESSED = {
    "codec": "codec.sprt",
    "codes": "codes",
    "contents": "samples.csv",
    "arrays": "samples.npz",
    "points": "points.csv",
}


def columns(row: Row) -> dict[str, str]:
    """Return one round's cells by heading."""
    robust = {f"{name} acc.": f"{value:.1%}" for name, value in row["robust_accuracy"].items()}
    return {
        "round": str(row["round"]),
        "clean acc.": f"{row['clean_accuracy']:.1%}",
        **robust,
        f"{row.get('attack', 'attack')} success": f"{row['attack_success']:.1%}",
        "its loss": f"{row['attack_loss']:.3f}",
        "mean |diff|": f"{row['delta_l1']:.4f}",
        "bank": str(row["bank_size"]),
        "seconds": f"{row['seconds']:.1f}",
    }


def heading(row: Row) -> str:
    """Return the headings, two spaces apart."""
    return "  ".join(columns(row))


def line(row: Row) -> str:
    r"""Return one round's cells, right-aligned below their headings.

    >>> row = dict(round=1, clean_accuracy=.98, robust_accuracy={"pgd": .7}, attack_success=.5,
    ...            attack_loss=.1, delta_l1=.02, bank_size=9, seconds=1.0)
    >>> print(heading(row), line(row), sep="\n")
    round  clean acc.  pgd acc.  attack success  its loss  mean |diff|  bank  seconds
        1       98.0%     70.0%           50.0%     0.100       0.0200     9      1.0
    """
    return "  ".join(cell.rjust(len(name)) for name, cell in columns(row).items())


def rounds_table(rows: Sequence[Row]) -> str:
    """Return the table of all rounds."""
    return "\n".join([heading(rows[0]), *(line(row) for row in rows)])


def attacks_table(summary: Row) -> str:
    """Return the table of an evaluation, an attack a line."""
    width = max(len("attack"), *(len(name) for name in summary["attacks"]))
    lines = [f"{'attack':<{width}}  accuracy  success  median l2  queries  seconds"]
    for name, m in summary["attacks"].items():
        success = "-" if m["success"] is None else f"{m['success']:.1%}"
        length = "-" if m["median_l2"] is None else f"{m['median_l2']:.3f}"
        lines.append(
            f"{name:<{width}}  {m['robust_accuracy']:8.1%}  {success:>7}  "
            f"{length:>9}  {m['queries']:7.0f}  {m['seconds']:7.1f}"
        )
    clean = f"clean accuracy {summary['clean_accuracy']:.1%}"
    return "\n".join([*lines, f"{clean}, worst case {summary['worst_case']:.1%}"])


def attack_lines(summary: Row) -> str:
    """Return what the job `attack` found."""
    sums = summary["top_sum_after"]
    return fit_line(summary) + (
        f"{summary['attack']} succeeds on {summary['success']:.1%} of {summary['samples']} samples "
        f"({summary['success_as_png']:.1%} also when rounded to bytes)\n"
        f"{before(summary)}\n"
        f"top class changed on {summary['top_class_changed']:.1%}; "
        f"mean |difference| {summary['delta_l1']:.4f}\n"
        f"sum of the original top scores: mean {sums['mean']:.3f}, largest {sums['largest']:.3f}"
    )


def fit_line(summary: Row) -> str:
    r"""Say what an attack was fitted to, as a line of its own; nothing where it was not.

    >>> fit_line({"attack": "universal", "fit": dict(
    ...     file="universal.safetensors", samples=200, passes=3, fooling_rate=0.5)})
    'universal was fitted to 200 training samples in 3 passes: fooling_rate 0.5\n'
    """
    about = dict(summary.get("fit", {}))
    if not about:
        return ""
    samples, passes = about.pop("samples"), about.pop("passes")
    numbers = ", ".join(f"{name} {value:.4g}" for name, value in about.items() if name != "file")
    return (
        f"{summary['attack']} was fitted to {samples} training samples in {passes} passes: "
        f"{numbers}\n"
    )


def before(summary: Row) -> str:
    """Say how many samples were right before the attack, and its success among those.

    >>> before({"samples": 8, "right_before": 6, "success_of_right": 0.5})
    'it succeeds on 50.0% of the 6 that were right before; 2 were wrong before'
    """
    right, wrong = summary["right_before"], summary["samples"] - summary["right_before"]
    if not wrong:
        return "all of them were right before"
    were = f"{wrong} {'was' if wrong == 1 else 'were'} wrong before"
    if not right:
        return f"all {were}"
    return (
        f"it succeeds on {summary['success_of_right']:.1%} of the {right} that were right before; "
        f"{were}"
    )


def outcome(folder: RunFolder) -> str:
    """Return a finished run's table and where its files are."""
    summary = folder.summary()
    lines = []
    if summary["job"] == "rounds":
        lines.append(rounds_table(summary["rounds"]))
    elif summary["job"] == "evaluate":
        lines.append(attacks_table(summary))
    elif summary["job"] == "attack":
        lines.append(attack_lines(summary))
    elif summary["job"].startswith("compress"):
        lines.append(compress_lines(summary))
    return "\n".join([*lines, places(folder)])


def places(folder: RunFolder) -> str:
    """Say where to look, and how."""
    path = folder.path
    names = [("run folder", path), ("report", path / "report.html")]
    models = sorted(folder.checkpoints.glob("round-*.safetensors"))
    names += [("scores", path / "scores.csv"), ("samples", path / "samples")]
    names += [(name, path / file) for name, file in COMPRESSED.items()]
    names += [*(("classifier", file) for file in models[-1:])]
    names += [(file.stem, file) for file in sorted(path.glob("*.safetensors"))]
    names += [("picture", file) for file in sorted(folder.figures.glob("*"))]
    lines = [f"{name:<11} {file}" for name, file in names if file.exists()]
    return "\n".join([*lines, f"{'TensorBoard':<12}tensorboard --logdir {path / 'tensorboard'}"])
