"""The report of the jobs of `compress`."""

from trainers.run.folder.record import RunRecord
from trainers.run.show.headline import headlines
from trainers.run.show.outcomes.compress import (
    certainty,
    compress_lines,
    fit_rows,
    point_rows,
    point_terms,
)
from trainers.run.show.reports.parts.content import Report, Section, Table
from trainers.run.show.reports.parts.words import data_of, end_of_lead

LEADS = {
    "compress-fit": "A codec was fitted to {data}.",
    "compress-encode": "Samples of {data} were coded.",
    "compress-decode": "Codes were decoded.",
    "compress-evaluate": "Codecs were compared on {data}: bytes against what is kept.",
}
POINT_TERMS = {"bits/pixel": "bits of the whole files for each pixel of a sample"}
STEP_TERMS = {
    "step": "of the quantiser: the larger, the fewer bytes",
    "bytes": "of a sample's code, on the samples that the codec was fitted to",
    "PSNR": "peak signal-to-noise ratio in dB: the higher, the closer to the original",
}


def compress_report(run: RunRecord) -> Report:
    """Return the content of the report of a codec, of codes, or of a comparison of codecs.

    Args:
        run: of a job of `compress`.
    """
    summary, figures = run.summary, [run.figures / name for name in run.summary["pictures"]]
    charts = [file for file in figures if file.with_suffix(".svg").is_file()]
    if "steps" in summary and run.job == "compress-fit":
        first = Section(
            "Steps",
            compress_lines(summary).splitlines()[:1],
            tables=[Table(fit_rows(summary), STEP_TERMS)],
        )
    elif "points" in summary:
        table = Table(point_rows(summary), POINT_TERMS | point_terms(summary))
        first = Section("Points", certainty(summary), tables=[table])
    else:
        first = Section("What came of it", compress_lines(summary).splitlines())
    sections = [
        Section("Rate against quality", figures=charts),
        first,
        Section("Pictures", figures=[file for file in figures if file not in charts]),
    ]
    lead = f"{LEADS[run.job].format(data=data_of(run))} {end_of_lead(run)}"
    return Report(lead, headlines(summary), summary.get("warnings", ()), sections)
