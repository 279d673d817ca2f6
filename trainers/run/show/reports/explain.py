"""The report of `explain`."""

from trainers.run.folder.record import RunRecord
from trainers.run.show.headline import headlines
from trainers.run.show.outcomes.explain import (
    agreement_rows,
    explanation_rows,
    explanation_terms,
    of_samples,
    surviving,
)
from trainers.run.show.reports.parts.content import Report, Section, Table
from trainers.run.show.reports.parts.words import data_of, end_of_lead, model_of

SHOWN = 50  # samples; figures/ has them all
AGREEMENT = (
    "Mean rank correlation of their maps of a sample: 1 where both put its pixels in the same "
    "order, 0 where one says nothing of the other."
)


def explain_report(run: RunRecord) -> Report:
    """Return the content of the report of what a classifier looked at.

    Args:
        run: of the job `explain`.
    """
    summary = run.summary
    lead = (
        f"What {model_of(run)} looked at in {summary['samples']} samples of {data_of(run)}, by "
        f"{len(summary['methods'])} methods. {end_of_lead(run)}"
    )
    terms = {"method": "its name, as on the command line"} | explanation_terms(summary)
    agreement = agreement_rows(summary)
    own = "" if not agreement else next(iter(agreement[0]))
    named = {name: f"agreement with {name}" for name in summary["methods"]}
    pictures = list(summary["pictures"].items())
    sections = [
        Section(
            "Methods",
            [f"{of_samples(summary)}."],
            tables=[Table(explanation_rows(summary), terms)] if summary["methods"] else [],
        ),
        *(
            Section(sample, figures=[run.figures / name for name in names])
            for sample, names in pictures[:SHOWN]
        ),
    ]
    if len(pictures) > SHOWN:
        sections.append(
            Section("More", [f"{len(pictures) - SHOWN} more are in the folder figures."])
        )
    if agreement:
        table = Table(agreement, named | {own: "a method"})
        sections.append(Section("Do the methods agree?", [AGREEMENT], tables=[table]))
    warnings = [*surviving(summary), *summary["warnings"]]
    return Report(lead, headlines(summary), warnings, sections)
