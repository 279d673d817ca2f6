"""The report of `network`."""

from trainers.run.folder.record import RunRecord
from trainers.run.show.headline import headlines
from trainers.run.show.outcomes.network import NETWORK_TERMS, concept_rows, part_rows
from trainers.run.show.reports.parts.content import Report, Section, Table
from trainers.run.show.reports.parts.words import data_of, end_of_lead, model_of

PART_TERMS = {
    "part": "what was looked at",
    "layer": "where",
    "found": "what was found",
}
CONCEPT_TERMS = {
    "concept": "what the masks show",
    "pixels": "share of all pixels that it covers",
    "detectors": "units that detect it",
    "best unit": "the unit whose activations overlap it most",
    "IoU": "intersection over union of that unit and the concept",
}


def network_report(run: RunRecord) -> Report:
    """Return the content of the report of what a network's layers respond to.

    Args:
        run: of the job `network`.
    """
    summary = run.summary
    lead = (
        f"What the layers of {model_of(run)} respond to, on {summary['samples']} samples of "
        f"{data_of(run)}. {end_of_lead(run)}"
    )
    sections = [
        Section("Parts", tables=[Table(part_rows(summary), PART_TERMS, prose=True)]),
        *(
            Section(
                part[:1].upper() + part[1:],
                [NETWORK_TERMS[part]] if part in NETWORK_TERMS else [],
                figures=[run.figures / name for name in names],
            )
            for part, names in summary["pictures"].items()
        ),
    ]
    if facts := summary["parts"].get("dissection"):
        sections.append(Section("Concepts", tables=[Table(concept_rows(facts), CONCEPT_TERMS)]))
    return Report(lead, headlines(summary), summary["warnings"], sections)
