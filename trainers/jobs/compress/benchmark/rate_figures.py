"""Figures of `compress evaluate`: rate against quality, and what is decoded at each rate."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from augment import Dataset
from compress import Codec
from compress.file_format import KINDS, parse
from trainers.evaluate.quality import psnr
from trainers.evenly_spaced import evenly_spaced
from trainers.jobs.compress.benchmark.peers import IMAGES, VIDEOS
from trainers.jobs.compress.files import code_paths
from trainers.jobs.compress.gallery import Cell, draw_coefficients, draw_gallery, first_coefficients
from trainers.run.folder.atomic import check_seal
from trainers.run.folder.checkpoint import load_item
from trainers.run.folder.folder import RunFolder
from trainers.run.show.images import write_png
from trainers.run.show.plots import Points, line_chart, write_chart

Row = Mapping[str, Any]
COLOURS = {
    "x": "#2563eb",
    "x-task": "#dc2626",
    "delta": "#475569",
    "x+R": "#1e3a8a",
    "x-task+R": "#7f1d1d",
    "delta+R": "#0f172a",
    "hard": "#65a30d",
    "soft": "#0d9488",
    "bayes": "#a16207",
    "top-k": "#c026d3",
    "jpeg": "#059669",
    "jpeg2000": "#d97706",
    "webp": "#7c3aed",
    "avif": "#0891b2",
    "x264": "#059669",
    "av1": "#7c3aed",
    "zeros": "#9ca3af",
    "label": "#be185d",
}
# The heading and the vertical axis of each figure.
METRICS = {
    "psnr": ("Quality: peak signal-to-noise ratio", "PSNR in dB"),
    "ssim": ("Quality: structural similarity", "SSIM, at most 1"),
    "ms_ssim": ("Quality: structural similarity over several scales", "MS-SSIM, at most 1"),
    "top1_kept": ("Share of samples whose top class the classifier keeps", "share"),
    "judge_accuracy": ("Accuracy of the independent judge", "share"),
}
CONTROLS = ("zeros", "label")
HEADERLESS = {"linestyle": "--", "marker": "o", "markerfacecolor": "white"}
PEERS = IMAGES | VIDEOS


def draw_curves(folder: Path, points: Sequence[Row]) -> list[Path]:
    """Write a figure for each metric that was measured, as PNG and SVG; return the PNG files."""
    files = []
    for metric, (title, y_label) in METRICS.items():
        lines, styles = rate_lines(points, metric)
        if not lines:
            continue
        chart = line_chart(
            lines,
            title=title,
            x_label="bytes per sample (dashed: without file headers)",
            y_label=y_label,
            log_x=True,
            styles=styles,
        )
        file = folder / f"rate-{metric.replace('_', '-')}.png"
        write_chart(file, chart)
        files.append(file)
    return files


def rate_lines(
    points: Sequence[Row], metric: str
) -> tuple[dict[str, Points], dict[str, dict[str, Any]]]:
    """Return the lines of a figure by name, and how each is drawn; none without a measurement.

    A codec of others has a dashed line too, of its bytes without file headers, which the legend
    leaves out. Controls, whose bytes are next to none, are dotted from one side to the other.
    """
    known = [row for row in points if row[metric] is not None]
    rated = [row for row in known if row["codec"] not in CONTROLS]
    sizes = [row[name] for row in rated for name in ("bytes_per_sample", "payload_bytes")]
    lines: dict[str, Points] = {}
    styles: dict[str, dict[str, Any]] = {}
    for codec in dict.fromkeys(row["codec"] for row in rated):
        own = [row for row in rated if row["codec"] == codec]
        lines[codec] = sorted((row["bytes_per_sample"], row[metric]) for row in own)
        threshold = codec.partition("-")[2]
        styles[codec] = {"color": COLOURS[codec if codec in COLOURS else threshold]}
        if codec in PEERS:
            lines[f"_{codec}"] = sorted((row["payload_bytes"], row[metric]) for row in own)
            styles[f"_{codec}"] = styles[codec] | HEADERLESS
    for row in known if rated else ():
        if row["codec"] in CONTROLS:
            name = f"{row['codec']} ({row['bytes_per_sample']:.2g} B)"
            lines[name] = [(min(sizes), row[metric]), (max(sizes), row[metric])]
            styles[name] = {"color": COLOURS[row["codec"]], "linestyle": ":"}
    return lines, styles


def draw_pages(
    folder: RunFolder, codec_of: Callable[[str], Codec], test: Dataset, points: Sequence[Row]
) -> list[Path]:
    """Write a page for each of our kinds, and one of all codecs at a middle rate, if any."""
    rows = evenly_spaced(len(test), len(load_shown(folder, points[0])))
    x = test.stack(rows)[0]
    files = []
    for kind in KINDS:
        own = [row for row in points if row["codec"] == kind]
        if own:
            files.append(folder.figures / f"page-{kind}.png")
            draw_kind(files[-1], folder, codec_of(kind), own, x, rows)
    rates = sorted({row["rate"] for row in points if row["rate"] is not None})
    if not rates:  # all were out of reach
        return files
    middle = rates[len(rates) // 2]
    codecs = dict.fromkeys(row["codec"] for row in points)
    beside = [nearest_point(points, codec, middle) for codec in codecs]
    files.append(folder.figures / "page-codecs.png")
    draw_beside(files[-1], folder, beside, x, middle)
    return files


def nearest_point(points: Sequence[Row], codec: str, rate: float) -> Row:
    """Return the point of a codec whose bytes without heads are nearest to a rate."""
    own = [row for row in points if row["codec"] == codec]
    return min(own, key=lambda row: abs(row["payload_bytes"] - rate))


def draw_kind(
    path: Path, folder: RunFolder, codec: Codec, own: Sequence[Row], x: Tensor, rows: list[int]
) -> None:
    """Draw original | code | reconstruction at each rate, a sample a line."""
    lines = [[Cell(sample, "original")] for sample in x]
    heads = [own[0]["codec"]]
    for row in own:
        file, seal = code_paths(folder, row["name"])
        check_seal(file, seal)
        codes = first_coefficients(parse(file.read_bytes()), codec, max(rows) + 1)
        heads += [f"{format_size(row['payload_bytes'])} bytes", ""]
        for line, i, got in zip(lines, rows, load_shown(folder, row), strict=True):
            line += [draw_coefficients(codes[i]), draw_decoded(line[0].x, got)]
    title = f"{own[0]['codec']}: original, then code and reconstruction at each rate"
    write_png(path, draw_gallery(lines, heads=heads, title=title))


def draw_beside(
    path: Path, folder: RunFolder, beside: Sequence[Row], x: Tensor, rate: float
) -> None:
    """Draw what each codec makes of the same samples with about as many bytes."""
    lines, heads = [[Cell(sample, "original")] for sample in x], [""]
    for row in beside:
        size = row["bytes_per_sample" if row["rate"] is None else "payload_bytes"]
        heads.append(f"{row['codec']}, {format_size(size)} B")
        for line, got in zip(lines, load_shown(folder, row), strict=True):
            line.append(draw_decoded(line[0].x, got))
    title = f"about {format_size(rate)} bytes a sample, without heads"
    write_png(path, draw_gallery(lines, heads=heads, title=title))


def draw_decoded(x: Tensor, got: Tensor) -> Cell:
    """Return a decoded sample with how near it is to the original, (C, ...) each."""
    return Cell(got, f"{float(psnr(x[None], got[None])):.1f} dB")


def format_size(size: float) -> str:
    """Return a number with three digits, or all before the point.

    >>> format_size(5.234), format_size(2804.4)
    ('5.23', '2,804')
    """
    return f"{size:,.0f}" if size >= 1000 else f"{size:.3g}"


def shown_path(folder: RunFolder, name: str) -> Path:
    """Return where the reconstructions of a point are kept for pictures."""
    return folder.checkpoints / "shown" / f"{name}.safetensors"


def load_shown(folder: RunFolder, row: Row) -> Tensor:
    """Return the reconstructions of a point that were kept for pictures, (B, ...)."""
    tensors, _ = load_item(shown_path(folder, row["name"]))
    return torch.stack(list(tensors["x"]))
