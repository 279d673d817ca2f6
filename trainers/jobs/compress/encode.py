"""The job `compress encode`: samples become code files."""

import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from torch import Tensor

from attacks import RefusedInput
from compress.decoding import reconstruct_chunks
from trainers.evaluate.quality import psnr
from trainers.intervals import wilson
from trainers.jobs.attack_files import write_csv
from trainers.jobs.compress.encode_inputs import CodePart, Unreadable
from trainers.jobs.compress.encoder import Encoder
from trainers.jobs.compress.files import CODES, SUFFIX, code_paths, first_samples_of
from trainers.jobs.compress.gallery import Cell, draw_coefficients, draw_gallery, first_coefficients
from trainers.jobs.compress.publish_outcome import publish_outcome
from trainers.run.cli.jobs.compress import CompressEncodeConfig
from trainers.run.folder.atomic import cached_json
from trainers.run.folder.folder import RunFolder
from trainers.run.show.images import amplification, write_png
from trainers.run.show.progress import Progress

SHOWN = 6
Row = dict[str, Any]


def run_encode(config: CompressEncodeConfig, folder: RunFolder) -> None:
    """Code samples, file by file, and say what the files keep."""
    started = time.monotonic()
    encoder = Encoder(config, folder)
    found: list[Row] = []
    with Progress(folder, "encode", total=len(encoder.parts)) as bar:
        for part in encoder.parts:
            found.append(encode_or_load_note(encoder, part))
            bar.step()
    pairs = list(zip(encoder.parts, found, strict=True))
    parts = [part for part, row in pairs if "left_out" not in row]
    if not parts:
        raise RefusedInput(f"{encoder.inputs.name}: none of the pictures can be decoded")
    write_sample_list(folder.path, encoder, parts)
    picture = folder.figures / "code.png"
    draw_code_figure(picture, encoder, parts)
    summary = make_summary(config, encoder, found) | {"seconds": time.monotonic() - started}
    publish_outcome(config, folder, {"job": folder.job} | summary, pictures=[picture])


def encode_or_load_note(encoder: Encoder, part: CodePart) -> Row:
    """Return what is noted of a file; where either is missing, make both again."""
    note = encoder.folder.checkpoints / "coded" / f"{part.name}.json"
    files = code_paths(encoder.folder, part.name)
    row: Row = cached_json(
        note,
        partial(encode_file, encoder, part),
        beside=lambda: [file for file in files if file.exists()],  # none of one that is left out
    )
    return row


def encode_file(encoder: Encoder, part: CodePart) -> Row:
    """Make a file, and say what it keeps, or why there is none."""
    try:
        files = encoder.files(part)
    except Unreadable as error:
        return {"left_out": str(error)}
    gone = {i for rows in part.groups for i in rows} - {i for rows, _ in files for i in rows}
    missing = [f"{encoder.inputs.ids[i]}: cannot be decoded" for i in sorted(gone)]
    return encoder.measured(files) | {"missing": missing}


def write_sample_list(folder: Path, encoder: Encoder, parts: list[CodePart]) -> None:
    """Write a row a sample: its file, its number there, its id and class; and what was lost."""
    inputs, rows = encoder.inputs, []
    for part in parts:
        file = f"{CODES}/{part.name}{SUFFIX}"
        inside = [i for numbers, _ in encoder.files(part) for i in numbers]
        rows += [
            {"file": file, "number": number, "id": inputs.ids[i], "label": inputs.labels[i]}
            for number, i in enumerate(inside)
        ]
    write_csv(folder / "samples.csv", rows)
    lost = [
        {"id": name, "not_kept": "; ".join(what)}
        for name, what in zip(inputs.ids, inputs.lost, strict=False)
        if what
    ]
    if lost:
        write_csv(folder / "not_kept.csv", lost)


def make_summary(config: CompressEncodeConfig, encoder: Encoder, found: list[Row]) -> Row:
    """Return summary.json; a number that does not apply is null."""
    sums, inputs = [row for row in found if "left_out" not in row], encoder.inputs
    names = ("samples", "bytes", "psnr", "pixels", "out_of_reach")
    total = {name: sum(part[name] for part in sums) for name in names}
    count = total["samples"]
    left_out = [row["left_out"] for row in found if "left_out" in row]
    left_out += [line for row in sums for line in row["missing"]]
    shapes = sorted(set(inputs.shapes))
    own = encoder.network is None
    kept = sum(part["kept"] for part in sums) if "kept" in sums[0] else None
    return {
        "kind": config.coding.kind,
        "codec": config.coding.codec or "codec.sprt",
        "samples": count,
        "split": inputs.split,
        "sizes": len(shapes),
        "files": len(sums),
        "bytes": total["bytes"],
        "bytes_per_sample": total["bytes"] / count,
        "bits_per_pixel": 8 * total["bytes"] / total["pixels"],
        "steps": [step for part in sums for step in part["steps"]],
        "out_of_reach": total["out_of_reach"],
        "psnr": total["psnr"] / count,
        "largest_error": max(part["error"] for part in sums) if own else None,
        "largest_error_promised": max(part["promised"] for part in sums) if own else None,
        "top1_kept": None if kept is None else kept / count,
        "top1_kept_interval": None if kept is None else wilson(kept, count),
        "not_kept": dict(Counter(text for lost in inputs.lost for text in lost)),
        "left_out": [*inputs.left_out, *left_out],
    }


Shown = tuple[int, Tensor, Tensor, Tensor]  # number, sample, whole numbers, what is decoded


def first_samples(encoder: Encoder, parts: list[CodePart]) -> Iterator[Shown]:
    """Yield samples with their code and what it decodes to."""
    for part in parts:
        for rows, file in encoder.files(part):
            some = rows[:SHOWN]
            wanted = encoder.wanted(some)
            numbers = first_coefficients(file, encoder.codec, len(some))
            chunks = reconstruct_chunks(file, encoder.codec.tables, encoder.network)
            yield from zip(some, wanted, numbers, first_samples_of(chunks, len(some)), strict=True)


def draw_code_figure(path: Path, encoder: Encoder, parts: list[CodePart]) -> None:
    """Draw some samples, their code, and what it decodes to; differences around grey."""
    kind, differences = encoder.flags.kind, encoder.network is None and encoder.x_adv is not None
    samples = list(islice(first_samples(encoder, parts), SHOWN))
    factor = amplification(max(float(wanted.abs().max()) for _, wanted, _, _ in samples))

    def picture(signal: Tensor) -> Tensor:
        return (0.5 + factor * signal).clamp(0, 1) if differences else signal

    rows = [
        [
            Cell(picture(wanted), encoder.inputs.ids[i][-14:]),
            draw_coefficients(numbers),
            Cell(picture(got), f"{float(psnr(wanted[None], got[None])):.1f} dB"),
        ]
        for i, wanted, numbers, got in samples
    ]
    heads = ("difference" if differences else "original", "code", "decoded")
    title = f"differences, times {factor} around grey," if differences else f"{kind}: samples"
    write_png(path, draw_gallery(rows, heads=heads, title=f"{title} and their code"))
