"""The report of `detect`."""

from trainers.run.folder.record import RunRecord
from trainers.run.show.headline import headlines
from trainers.run.show.outcomes.detect import DETECT_TERMS, detect_lines, detect_rows
from trainers.run.show.reports.parts.content import Report, Section, Table
from trainers.run.show.reports.parts.words import data_of, end_of_lead, model_of

TERMS = DETECT_TERMS | {
    "attack": "its name and options",
    "budget": "how far a sample may be changed",
    "at ": DETECT_TERMS["at 1%, 5%"],
}


def detect_report(run: RunRecord) -> Report:
    """Return the content of the report of a detector of attacked samples.

    Args:
        run: of the job `detect`.
    """
    summary = run.summary
    lead = (
        f"A detector of attacked samples by the outputs of {summary['layer']} of {model_of(run)}, "
        f"measured on {summary['samples']} test samples of {data_of(run)} and what attacks made of "
        f"them. {end_of_lead(run)}"
    )
    sections = [
        Section("Attacks", detect_lines(summary), tables=[Table(detect_rows(summary), TERMS)]),
        Section(
            "Detection against false alarms",
            ["The nearer to the upper left, the better; the diagonal is guessing."],
            figures=[run.figures / "roc.png"],
        ),
    ]
    return Report(lead, headlines(summary), (), sections)
