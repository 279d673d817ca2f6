"""The job `compress decode`: code files become pictures, videos, and one npz."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from attacks.atomic import write_bytes
from compress import Codec
from compress.container import Head
from compress.decoding import decoded
from compress.network import Network
from trainers.attack_files import write_sample
from trainers.compression.files import code_files, read_code, read_codec, refusing, samples_of
from trainers.compression.gallery import Cell, gallery
from trainers.compression.publish import finish
from trainers.reconstruction_files import load_network
from trainers.run.compress_config import CompressDecodeConfig
from trainers.run.figures import write_png
from trainers.run.folder import RunFolder
from trainers.run.progress import Progress
from trainers.run.session import choose_threads

log = logging.getLogger(__name__)
VALUES = 2**29  # of samples in the npz, at most: 2 GiB
SHOWN, ACROSS = 24, 8
PICTURES = (1, 3)  # channels that a PNG or a video can have


def run_decode(config: CompressDecodeConfig, folder: RunFolder) -> None:
    """Decode chunk by chunk, and write a file a sample."""
    flags, started = config.coding, time.monotonic()
    codes = [(path, *read_code(path)) for path in code_files(flags.code)]
    head = alike([(path, parsed.head) for path, _, parsed in codes])
    codec = read_codec(flags.codec) if flags.codec else None
    network = load_network(Path(flags.network)) if flags.network else None
    differences = head.kind == "delta" and network is None
    choose_threads(config.run.threads, torch.Size(head.shape).numel())
    total = sum(parsed.head.samples for _, _, parsed in codes)
    total = min(total, flags.samples or total)
    kept: list[Tensor] = []
    with Progress(folder, "decode", total=total) as bar:
        chunks = (part for path, data, _ in codes for part in chunks_of(path, data, codec, network))
        for number, x in enumerate(samples_of(chunks, total)):
            if not number:
                folder.checkpoints.mkdir(exist_ok=True)  # no other options from here on
            if len(x) in PICTURES:
                write_sample(folder.path / "samples", f"{number:05}", seen(x, differences))
            if (number + 1) * x.numel() <= VALUES:
                kept.append(x)
            bar.step()
    write_arrays(folder.path / "samples.npz", kept, "delta" if differences else "x", total)
    summary = {
        "job": folder.job,
        "kind": head.kind,
        "restored": network is not None,
        "samples": total,
        "shape": list(head.shape),
        "bytes": sum(len(data) for _, data, _ in codes),
        "seconds": time.monotonic() - started,
    }
    picture = folder.figures / "samples.png"
    what = "differences, halved around grey" if differences else f"{head.kind}, decoded"
    draw(picture, [seen(x, differences) for x in kept[:SHOWN]], what)
    finish(config, folder, summary, pictures=[picture])


def alike(heads: list[tuple[Path, Head]]) -> Head:
    """Return the head that several files have in common.

    Raises:
        ValueError: when they hold samples of other kinds or shapes.
    """
    first, head = heads[0]
    for path, other in heads:
        if (other.kind, other.shape) != (head.kind, head.shape):
            raise ValueError(
                f"{first} holds {head.kind} of {head.shape}, {path} {other.kind} of "
                f"{other.shape}; decode them in two runs"
            )
    return head


def chunks_of(
    path: Path, data: bytes, codec: Codec | None, network: Network | None
) -> Iterator[Tensor]:
    """Yield the samples of a file chunk by chunk, each (B, ...), restored where there is an R.

    Raises:
        RefusedInput: when it is damaged, or the codec or the network another.
    """
    fitting = "give what fits it as --codec FILE and --network FILE"
    with refusing(path, "give that as --codec FILE" if network is None else fitting):
        yield from decoded(data, codec.tables if codec else None, network)


def seen(x: Tensor, difference: bool) -> Tensor:
    """Return a sample as a picture; a difference is halved, around grey."""
    return 0.5 + x / 2 if difference else x


def write_arrays(path: Path, samples: list[Tensor], name: str, total: int) -> None:
    """Write the samples as array x, or differences as array delta, float32."""
    if len(samples) < total:
        log.warning("%s is not written: it would be larger than 2 GiB", path.name)
        return
    arrays, buffer = torch.stack(samples).numpy(), io.BytesIO()
    if name == "delta":
        np.savez_compressed(buffer, delta=arrays)
    else:
        np.savez_compressed(buffer, x=arrays)
    write_bytes(path, buffer.getvalue())


def draw(path: Path, samples: list[Tensor], what: str) -> None:
    """Draw the first samples."""
    cells = [Cell(x, f"{i:05}") for i, x in enumerate(samples)]
    across = min(ACROSS, len(cells))
    rows = [cells[i : i + across] for i in range(0, len(cells), across)]
    title = f"{what}: the first {len(cells)}"
    write_png(path, gallery(rows, heads=[""] * across, title=title))
