"""The report of `representation`."""

from collections.abc import Mapping
from typing import Any

from trainers.run.folder.record import RunRecord
from trainers.run.show.headline import headlines
from trainers.run.show.outcomes.representation import (
    REPRESENTATION_TERMS,
    active_rows,
    distance_rows,
    inside_rows,
    inversion_rows,
    known_line,
    likelihood_rows,
    neighbour_rows,
)
from trainers.run.show.reports.parts.content import Report, Section, Table
from trainers.run.show.reports.parts.words import data_of, end_of_lead, listed, model_of

Row = Mapping[str, Any]
QUARTILES = "the median, in brackets the quartiles"
TERMS = REPRESENTATION_TERMS | {
    "attack": "its name and options; feature attacks lead to a representation, others to a class",
    "layer": "whose outputs are the representation",
    "budget": "how far a sample may be changed",
    "seconds": "that the attack took on all pairs",
    "change": "the adversary's rank less the guide's",
    "rank of the guide": REPRESENTATION_TERMS["rank"],
    "rank of the adversary": REPRESENTATION_TERMS["rank"],
    "with the source (mean)": "how many of the 3 nearest neighbours are the source's",
    "all 3": "share of the adversaries that have the guide's 3 nearest neighbours",
    "near": "the same of near members of the class that the model does not know",
    "far": "the same of its farthest members",
    "adversary": "log-likelihood of the adversary less the guide's, in nats",
    "source": "the same of its source",
    "active in the source": f"share of the layer's values above 0: {QUARTILES}",
    "in the guide": f"the same of the guide: {QUARTILES}",
    "in the adversary": f"the same of the adversary: {QUARTILES}",
    "IoU": "intersection over union of the adversary's active units with theirs",
    "relative error": "length of the error of the image rebuilt, by that of the image",
}


def representation_report(run: RunRecord) -> Report:
    """Return the content of the report of samples led to the representations of others.

    Args:
        run: of the job `representation`.
    """
    summary = run.summary
    attacks = listed(list(dict.fromkeys(trial["attack"] for trial in summary["trials"])))
    lead = (
        f"{summary['pairs']} pairs of samples of {data_of(run)}: by {attacks} each source was led "
        f"to its guide's representation in {model_of(run)}. {unmoved(summary)}{end_of_lead(run)}"
    )
    return Report(lead, headlines(summary), summary["warnings"], sections(run))


def unmoved(summary: Row) -> str:
    """Say that no label could change, where that is so."""
    first = next(trial for trial in summary["trials"] if trial["compared"])
    return "" if first["guide_label"] else "All sources have the guide's label from the start. "


def sections(run: RunRecord) -> list[Section]:
    """Return the parts of the report."""
    summary, figures = run.summary, run.figures

    def table(rows: Any) -> list[Table]:
        return [Table(rows, TERMS)]

    return [
        Section("Pairs", figures=[figures / "pairs.png"]),
        Section(
            "Distances",
            ["Thick: the median. Dashed: as far from the guide as the source is."],
            figures=[figures / "distances.png"],
            tables=table(distance_rows(summary)),
        ),
        Section("Depth and budget", ["Of the first attack."], figures=[figures / "depth.png"]),
        Section(
            "Neighbourhood in short", ["Medians."], tables=table(inside_rows(summary)), folded=True
        ),
        Section(
            "Ranks and neighbours", [known_line(summary)], tables=table(neighbour_rows(summary))
        ),
        Section(
            "Manifold",
            ["Near 0 a point is as likely as the guide itself: an inlier of its class."],
            figures=[figures / "likelihood.png"],
            tables=table(likelihood_rows(summary)),
        ),
        Section(
            "Active units", figures=[figures / "sparsity.png"], tables=table(active_rows(summary))
        ),
        Section(
            "Inversions",
            ["Samples rebuilt from what a layer represents of those in the first row."],
            figures=[figures / "inversions.png"],
            tables=table(inversion_rows(summary)) if summary["inversions"] else [],
        ),
    ]
