"""The job `compress decode`: code files become pictures, videos, and one npz."""

import io
import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attacks.files import write_bytes
from compress.decoding import check_decodable, reconstruct_chunks
from compress.entropy.tables import Tables
from compress.file_format import CodeFile, Kind
from compress.network.restoration_net import RestorationNet
from trainers.jobs.attack_files import write_csv, write_sample
from trainers.jobs.compress.files import (
    find_code_files,
    first_samples_of,
    read_code,
    read_codec,
    refuse_unreadable,
)
from trainers.jobs.compress.gallery import Cell, draw_gallery
from trainers.jobs.compress.publish_outcome import publish_outcome
from trainers.jobs.naming import sample_names
from trainers.reconstruction.files import load_network
from trainers.run.cli.jobs.compress import CompressDecodeConfig
from trainers.run.folder.folder import RunFolder
from trainers.run.session import choose_threads
from trainers.run.show.images import write_png
from trainers.run.show.progress import Progress

log = logging.getLogger(__name__)
VALUES = 2**29  # of samples in the npz, at most: 2 GiB
SHOWN, ACROSS = 24, 8
PICTURES = (1, 3)  # channels that a PNG or a video can have
SUFFIXES = {2: ".png", 3: ".mkv"}  # of the file of a sample, by its dimensions


@dataclass(frozen=True)
class CodeSource:
    """A file of codes, and where it is from.

    Attributes:
        path: the file, or the pack that it is in.
        parsed: what it says.
        names: of its samples; None for those that have numbers alone.
    """

    path: Path
    parsed: CodeFile
    names: list[str | None]


def run_decode(config: CompressDecodeConfig, folder: RunFolder) -> None:
    """Decode chunk by chunk, and write a file a sample."""
    flags, started = config.coding, time.monotonic()
    codes = [code for found in find_code_files(flags.code) for code in read_sources(*found)]
    kind = common_kind(codes)
    shapes = [code.parsed.head.shape for code in codes]
    tables = read_codec(flags.codec).tables if flags.codec else None
    network = load_network(Path(flags.network)) if flags.network else None
    for code in codes:
        with refuse_with_advice(code, network):
            check_decodable(code.parsed, tables, network)
    if tables is not None and all(code.parsed.head.tables for code in codes):
        log.warning("--codec %s is not used: the files hold their own tables", flags.codec)
    differences = kind == "delta" and network is None
    choose_threads(config.run.threads, max(torch.Size(shape).numel() for shape in shapes))
    rows = plan_rows(codes, flags.samples)
    kept: list[Tensor] = []
    numbers = 0  # kept so far, in one npz
    with Progress(folder, "decode", total=len(rows)) as bar:
        chunks = (part for code in codes for part in decode_chunks(code, tables, network))
        for row, x in zip(rows, first_samples_of(chunks, len(rows)), strict=True):
            folder.checkpoints.mkdir(exist_ok=True)  # no other options from here on
            if row["file"]:
                name = row["file"].rpartition(".")[0].partition("/")[2]
                write_sample(folder.path / "samples", name, as_picture(x, differences))
            numbers += x.numel()
            if len(kept) < SHOWN or (len(set(shapes)) == 1 and numbers <= VALUES):
                kept.append(x)
            bar.step()
    write_csv(folder.path / "samples.csv", rows)
    write_arrays(folder.path / "samples.npz", kept, "delta" if differences else "x", len(rows))
    summary = {
        "job": folder.job,
        "kind": kind,
        "restored": network is not None,
        "samples": len(rows),
        "shape": list(shapes[0]) if len(set(shapes)) == 1 else None,
        "sizes": len(set(shapes)),
        "bytes": sum(path.stat().st_size for path in {code.path for code in codes}),
        "seconds": time.monotonic() - started,
    }
    picture = folder.figures / "samples.png"
    what = "differences, halved around grey" if differences else f"{kind}, decoded"
    draw_first(picture, [as_picture(x, differences) for x in kept[:SHOWN]], what)
    publish_outcome(config, folder, summary, pictures=[picture])


def read_sources(path: Path, name: str) -> list[CodeSource]:
    """Return the files that one is, or a pack of them, with the names of their samples.

    Args:
        path: the file.
        name: its own, which is that of its sample where there is only one, and it is no number.
    """
    files = read_code(path)
    lone = len(files) == 1 and files[0].head.samples == 1 and not name.isdigit()
    return [
        CodeSource(
            path,
            file,
            list(file.head.names) or ([name] if lone else [None] * file.head.samples),
        )
        for file in files
    ]


def common_kind(codes: list[CodeSource]) -> Kind:
    """Return the kind of sample that several files have in common.

    Raises:
        ValueError: when they hold several.
    """
    first = codes[0]
    for code in codes:
        if code.parsed.head.kind != first.parsed.head.kind:
            raise ValueError(
                f"{first.path} holds {first.parsed.head.kind}, {code.path} "
                f"{code.parsed.head.kind}; decode them in two runs"
            )
    return first.parsed.head.kind


def plan_rows(codes: list[CodeSource], most: int | None) -> list[dict[str, Any]]:
    """Return a row for each sample that is decoded: its file, if it can have one, and its code."""
    places = [(code, i) for code in codes for i in range(len(code.names))][:most]
    ids = [code.names[i] for code, i in places]
    names = {suffix: sample_names(ids, suffix) for suffix in SUFFIXES.values()}
    rows = []
    for place, (code, number) in enumerate(places):
        channels, *sides = code.parsed.head.shape
        suffix = SUFFIXES[len(sides)] if channels in PICTURES else ""
        file = f"samples/{names[suffix][place]}{suffix}" if suffix else ""
        rows.append(
            {"file": file, "code": str(code.path), "number": number, "id": ids[place] or ""}
        )
    return rows


def refuse_with_advice(
    code: CodeSource, network: RestorationNet | None
) -> AbstractContextManager[None]:
    """Refuse a file with what to give instead."""
    fitting = "give what fits it as --codec FILE and --network FILE"
    return refuse_unreadable(code.path, "give that as --codec FILE" if network is None else fitting)


def decode_chunks(
    code: CodeSource, tables: Tables | None, network: RestorationNet | None
) -> Iterator[Tensor]:
    """Yield the samples of a file chunk by chunk, each (B, ...), restored where there is an R.

    Raises:
        RefusedInput: when it is damaged, or the codec or the network another.
    """
    with refuse_with_advice(code, network):
        yield from reconstruct_chunks(code.parsed, tables, network)


def as_picture(x: Tensor, difference: bool) -> Tensor:
    """Return a sample as a picture; a difference is halved, around grey."""
    return 0.5 + x / 2 if difference else x


def write_arrays(path: Path, samples: list[Tensor], name: str, total: int) -> None:
    """Write the samples as array x, or differences as array delta, float32."""
    if len({x.shape for x in samples}) > 1:
        log.info("%s is not written: the samples are of several sizes", path.name)
        return
    if len(samples) < total:
        log.warning("%s is not written: it would be larger than 2 GiB", path.name)
        return
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{name: torch.stack(samples).numpy()})  # type: ignore[arg-type]
    write_bytes(path, buffer.getvalue())


def draw_first(path: Path, samples: list[Tensor], what: str) -> None:
    """Draw the first samples."""
    cells = [Cell(x, f"{i:05}") for i, x in enumerate(samples)]
    across = min(ACROSS, len(cells))
    rows = [cells[i : i + across] for i in range(0, len(cells), across)]
    title = f"{what}: the first {len(cells)}"
    write_png(path, draw_gallery(rows, heads=[""] * across, title=title))
