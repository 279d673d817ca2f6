"""The report of `fit`."""

from trainers.run.folder.record import RunRecord
from trainers.run.show.headline import headlines
from trainers.run.show.outcome import fitted_line
from trainers.run.show.reports.parts.content import Report, Section
from trainers.run.show.reports.parts.measured import attacked_section
from trainers.run.show.reports.parts.samples import failure_section
from trainers.run.show.reports.parts.words import data_of, end_of_lead, listed, subject


def fit_report(run: RunRecord) -> Report:
    """Return the content of the report of a classifier that was fitted.

    Args:
        run: of the job `fit`.
    """
    summary = run.summary
    lead = (
        f"{subject(run)} was fitted to {data_of(run)} by {summary['method']} and "
        f"measured on {summary['samples']} test samples, clean and under "
        f"{listed(list(summary['attacks']))}. {end_of_lead(run)}"
    )
    sections = [
        Section("While fitting", [fitted_line(summary)], figures=[run.figures / "fit.png"]),
        attacked_section(summary),
        failure_section(run.path, summary),
    ]
    return Report(lead, headlines(summary), summary["warnings"], sections)
