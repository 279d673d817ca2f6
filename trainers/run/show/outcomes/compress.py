"""Outcomes of the jobs of `compress` as text for a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from trainers.intervals import wilson
from trainers.run.show.text_table import format_table, number

Row = Mapping[str, Any]
POINT_TERMS = {
    "codec": "x: the samples; x-task: what the classifier needs of them; delta: what an attack "
    "changed; +R: restored by the network R; zeros: nothing is sent, and the picture is grey; "
    "label: the classifier's answer is sent, and a training sample of that class shown",
    "rate": "bytes a sample that were asked for",
    "bytes": "bytes a sample of the whole files",
    "no header": "the same without what every file begins with, which counts in small files alone",
    "with R": "bytes a sample when the network R is sent along once",
    "PSNR": "peak signal-to-noise ratio in dB: the higher, the closer to the original",
    "SSIM": "structural similarity, 1 for equal pictures; MS-SSIM: over several scales",
    "top-1 kept": "share of samples on which the classifier answers as for the original",
    "judge kept": "the same of the judge, a second classifier that was fitted to other samples",
    "judge acc.": "share of samples on which the judge is right",
    "agree": "share of samples on which the classifier and the judge answer alike",
    "retrieval": "share of decoded samples that are nearer to their own original than to any other",
}


def compress_lines(summary: Row) -> str:
    """Return what a job of `compress` found, by its summary."""
    found = {
        "compress-fit": fit_lines,
        "compress-encode": encode_line,
        "compress-decode": decode_line,
        "compress-evaluate": points_lines,
    }
    return found[summary["job"]](summary)


def fit_lines(summary: Row) -> str:
    """Return the table of a codec's steps."""
    what = "samples" if summary["kind"] == "x" else "differences"
    head = f"a codec of {summary['bytes']} bytes, fitted to {summary['samples']} {what}"
    return f"{head}; on them:\n{format_table(fit_rows(summary))}"


def fit_rows(summary: Row) -> list[dict[str, str]]:
    """Return what each step of a codec costs and keeps, a step a row."""
    return [
        {
            "step": f"{row['step']:g}",
            "bytes a sample": f"{row['bytes_per_sample']:.1f}",
            "PSNR": f"{row['psnr']:.2f} dB",
        }
        for row in summary["steps"]
    ]


def encode_line(summary: Row) -> str:
    """Say how small the samples became, and what was not kept of them."""
    files = "one file" if summary["files"] == 1 else f"{summary['files']} files"
    kept, error = summary["top1_kept"], summary["largest_error"]
    more = "" if kept is None else f"; the classifier's answer is kept on {kept:.1%}"
    interval = summary.get("top1_kept_interval")
    if interval:
        more += f" (95 % interval {interval[0]:.1%} to {interval[1]:.1%})"
    if error is not None:
        promised = summary["largest_error_promised"]
        more += f"; no value is off by more than {error:.3g} (at most {promised:.3g} is promised)"
    return "\n".join(
        [
            f"{summary['samples']} samples as {summary['kind']} in {files} of {summary['bytes']} "
            f"bytes in all: {summary['bytes_per_sample']:.2f} a sample, "
            f"{summary['bits_per_pixel']:.3f} bits a pixel",
            f"step {spanned(summary['steps'])}, PSNR {summary['psnr']:.2f} dB{more}",
            *not_kept_lines(summary),
        ]
    )


def spanned(steps: Sequence[float]) -> str:
    """Return a few steps, or the least and the largest of many.

    >>> spanned([0.1, 0.2]), spanned([0.3, 0.1, 0.2, 0.5, 0.4])
    ('0.1, 0.2', '0.1 to 0.5')
    """
    texts = list(dict.fromkeys(f"{step:.4g}" for step in steps))
    return ", ".join(texts) if len(texts) <= 4 else f"{min(steps):.4g} to {max(steps):.4g}"


def not_kept_lines(summary: Row) -> list[str]:
    """Say what of the files is lost, which are left out, and which have other sizes than asked."""
    lines = [f"not kept of {count}: {what}" for what, count in summary["not_kept"].items()]
    if lines:
        lines.append("not_kept.csv names them")
    if summary["left_out"]:
        first = "; ".join(summary["left_out"][:3])
        lines.append(f"left out {len(summary['left_out'])}: {first}")
    if summary["out_of_reach"]:
        lines.append(f"{summary['out_of_reach']} cannot have so many bytes: the nearest was taken")
    return lines


def decode_line(summary: Row) -> str:
    """Say what was decoded."""
    shape = summary["shape"]
    size = "x".join(map(str, shape)) if shape else f"{summary['sizes']} sizes"
    differences = summary["kind"] == "delta" and not summary["restored"]
    what = "differences" if differences else "samples"
    return f"{summary['samples']} {what} of {size} out of {summary['bytes']} bytes"


def points_lines(summary: Row) -> str:
    """Return the table of all measured points, and what to know of it."""
    table = format_table(point_rows(summary))
    return "\n".join([table, *certainty(summary), *summary["warnings"]])


def point_rows(summary: Row) -> list[dict[str, str]]:
    """Return the cells of each point, without columns that are empty for all."""
    rows = [cells(row) for row in summary["points"]]
    known = [name for name in rows[0] if any(row[name] != "-" for row in rows)]
    return [{name: row[name] for name in known} for row in rows]


def point_terms(summary: Row) -> dict[str, str]:
    """Return what the columns of the table of points mean; nothing for jobs without one."""
    if not summary.get("points"):
        return {}
    shown = point_rows(summary)[0]
    return {name: meaning for name, meaning in POINT_TERMS.items() if name in shown}


def certainty(summary: Row) -> list[str]:
    """Say how far the rates of a table can be trusted, a line where the samples are counted.

    >>> certainty({"samples": 100})
    ['rates are of 100 samples: with 95 % confidence 50 % means 40 to 60 %, 95 % means 89 to 98 %']
    """
    n = summary.get("samples")
    if not n:
        return []
    ends = [[f"{100 * end:.0f}" for end in wilson(round(n * rate), n)] for rate in (0.5, 0.95)]
    half, most = (" to ".join(pair) for pair in ends)
    return [
        f"rates are of {n} samples: with 95 % confidence 50 % means {half} %, 95 % means {most} %"
    ]


def cells(row: Row) -> dict[str, str]:
    """Return one point's cells by heading; "-" where a number does not apply."""
    return {
        "codec": row["codec"],
        "rate": number(row["rate"], ".4g"),
        "bytes": number(row["bytes_per_sample"], ".1f"),
        "no header": number(row["payload_bytes"], ".1f"),
        "with R": number(row["bytes_with_network"], ".1f"),
        "bits/pixel": number(row["bits_per_pixel"], ".3f"),
        "PSNR": number(row["psnr"], ".2f"),
        "SSIM": number(row["ssim"], ".3f"),
        "MS-SSIM": number(row["ms_ssim"], ".3f"),
        "top-1 kept": number(row["top1_kept"], ".1%"),
        "judge kept": number(row["judge_kept"], ".1%"),
        "judge acc.": number(row["judge_accuracy"], ".1%"),
        "agree": number(row["agreement"], ".1%"),
        "retrieval": number(row["retrieval"], ".1%"),
    }
