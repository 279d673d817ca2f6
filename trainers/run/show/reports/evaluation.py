"""The report of `evaluate`."""

from collections.abc import Mapping
from typing import Any

from trainers.run.folder.record import RunRecord
from trainers.run.show.headline import headlines
from trainers.run.show.outcomes.corruption import corruption_rows, corruption_sentences
from trainers.run.show.outcomes.evaluation import (
    EVALUATION_TERMS,
    calibration_line,
    calibration_rows,
    check_rows,
    class_rows,
    confused_lines,
    curve_lines,
    curve_rows,
    masking_lines,
    masking_rows,
    suffer_line,
    transfer_lines,
    transfer_rows,
)
from trainers.run.show.reports.parts.content import Report, Section, Table
from trainers.run.show.reports.parts.measured import CLASS_TERMS, attacked_section, defence_section
from trainers.run.show.reports.parts.samples import failure_section
from trainers.run.show.reports.parts.words import data_of, end_of_lead, listed, subject

Row = Mapping[str, Any]
CAUTION = (
    "attacks stop once a sample is fooled, so its wrong answer is unsure: with early_stop=false, "
    "such as pgd:early_stop=false, wrong answers are as sure as the attack can make them"
)
CURVE_TERMS = {
    "eps": "how far a sample may be changed, in the norm of the run",
    "accuracy": "share of the samples that no change of that size fools; in brackets the range, "
    "in %, that the true rate lies in with 95 % confidence",
}
CHECK_TERMS = {
    "eps": CURVE_TERMS["eps"],
    "curve": "right at that eps by the attacks of the curve",
    "difference": "percentage points from the curve to the attack that checks it",
    "either": "right under both the curve's attacks and the one that checks it",
    "fooled by": "samples that the attack that checks fooled, and those of the curve did not",
    "by the curve's alone": "samples that the curve's attacks fooled, and the other did not",
}
MASKING_TERMS = {
    "check": "what was looked for",
    "sign": "whether it looks as if gradients were masked, so that attacks fail for want of one",
    "seen": "what was measured",
    "what to do": "how to find out more",
}
CALIBRATION_TERMS = {
    "answers": "to clean samples, or under an attack",
    "n": "answers counted",
    "ECE": EVALUATION_TERMS["ECE"],
    "chance": "ECE that a calibrated classifier could show on so few samples",
    "ECE, equal counts": "the same over bins of equally many answers",
}
TRANSFER_TERMS = {
    "made on": "the classifier whose gradients the attack had",
    "on ": "share of the samples that both had right which fool this classifier",
}
CORRUPTION_TERMS = {
    "corruption": "what was done to the samples",
    "accuracy": "share that is right, over all severities",
    "severity": "share that is right at this severity, of 1 (weak) to 5 (strong)",
}


def evaluation_report(run: RunRecord) -> Report:
    """Return the content of the report of an evaluation.

    Args:
        run: of the job `evaluate`.
    """
    summary = run.summary
    lead = (
        f"{subject(run)} was measured on {summary['samples']} test samples of "
        f"{data_of(run)}, clean and under {listed(list(summary['attacks']))}. {end_of_lead(run)}"
    )
    sections = [
        attacked_section(summary),
        *([defence_section(summary["defence"])] if "defence" in summary else []),
        *(curve_section(run, curve) for curve in [summary["curve"]] if curve),
        failure_section(run.path, summary),
        *answer_sections(run),
        *other_sections(run),
    ]
    return Report(lead, headlines(summary), summary["warnings"], sections)


def curve_section(run: RunRecord, curve: Row) -> Section:
    """Return the curve over eps, with the attack that checks it."""
    terms = CHECK_TERMS | {curve["checked_by"]: "right at that eps under this attack"}
    checks = Table(check_rows(curve), terms)
    tables = [Table(curve_rows(curve), CURVE_TERMS), checks]
    chart = run.figures / "curve.png"
    return Section(
        "Robust accuracy against eps", curve_lines(curve), figures=[chart], tables=tables
    )


def answer_sections(run: RunRecord) -> list[Section]:
    """Return what the answers are: by class, taken for what, and how sure."""
    summary = run.summary
    under = {name: f"share that is right under {name}" for name in summary["attacks"]}
    classes = Table(class_rows(summary), CLASS_TERMS | under)
    calibration = Table(calibration_rows(summary), CALIBRATION_TERMS)
    return [
        Section("Classes", [suffer_line(summary)], tables=[classes]),
        Section("Confusion", confused_lines(summary), figures=[run.figures / "confusion.png"]),
        Section(
            "Calibration",
            [calibration_line(summary), CAUTION],
            figures=[run.figures / "reliability.png"],
            tables=[calibration],
        ),
    ]


def other_sections(run: RunRecord) -> list[Section]:
    """Return signs of gradient masking, transfer, and common corruptions, as far as measured."""
    summary, figures = run.summary, run.figures
    masking, transfer = summary["masking"], summary["transfer"]
    corrupted, found = summary.get("corruptions"), []
    if masking["checks"]:
        table = Table(masking_rows(masking), MASKING_TERMS, prose=True)
        lines = masking_lines(masking, brief=True)
        found.append(Section("Signs of gradient masking", lines, tables=[table]))
    if transfer is not None:
        table = Table(transfer_rows(transfer), TRANSFER_TERMS)
        picture, lines = [figures / "transfer.png"], transfer_lines(transfer)
        found.append(Section("Transfer", lines, figures=picture, tables=[table]))
    if corrupted:
        table = Table(corruption_rows(corrupted), CORRUPTION_TERMS)
        picture, lines = [figures / "corruptions.png"], corruption_sentences(corrupted)
        found.append(Section("Corruptions", lines, figures=picture, tables=[table]))
    return found
