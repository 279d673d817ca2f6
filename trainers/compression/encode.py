"""The job `compress encode`: samples become code files."""

from __future__ import annotations

import math
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from attacks import RefusedInput
from augment import Dataset
from compress.container import Kind, parse
from trainers.attack_files import write_scores
from trainers.compression.attacked import attacked, chosen_attack
from trainers.compression.files import (
    CODES,
    SUFFIX,
    check_network,
    kept_code,
    read_codec,
    samples_of,
)
from trainers.compression.fit import TRAIN, fitted_codec
from trainers.compression.gallery import Cell, code_picture, coefficients, gallery
from trainers.compression.publish import finish
from trainers.evaluation import predict
from trainers.fitting import trained
from trainers.quality import psnr
from trainers.reconstruction_files import load_network
from trainers.run.atomic import once
from trainers.run.compress_config import CompressEncodeConfig
from trainers.run.figures import amplification, write_png
from trainers.run.folder import RunFolder
from trainers.run.progress import Progress
from trainers.run.specs import build_task
from trainers.setting import check_kind, load_split

VALUES = 2**27  # of samples in a file, at most: half a GiB of floats while it is made
SHOWN = 6


class Encoder:
    """What codes the samples of a data set, some rows at a time."""

    def __init__(self, config: CompressEncodeConfig, folder: RunFolder) -> None:
        """Load what is needed; all refusals come from here."""
        self.flags, self.folder = config.coding, folder
        name, attack = chosen_attack(config, self.flags.attack)
        self.network = load_network(Path(self.flags.network)) if self.flags.network else None
        if self.network is not None and self.network.config.kind != self.flags.kind:
            raise RefusedInput(
                f"{self.flags.network} restores files of kind {self.network.config.kind}, and "
                f"--kind is {self.flags.kind}; give another of them"
            )
        self.task = build_task(self.flags.task, smoke=config.run.smoke)
        given = read_codec(self.flags.codec) if self.flags.codec else None
        self.ds = load_split(config, self.flags.split)
        if self.network is not None:
            check_network(str(self.flags.network), self.network, self.ds)
        if self.flags.kind == "delta":
            check_kind({name: attack}, self.ds)
        self.model: nn.Module | None = None
        self.x_adv: Tensor | None = None
        change = None
        if self.flags.kind != "x":
            setting = trained(config, folder, self.ds)
            self.model = setting.model if self.flags.kind == "x-task" else None
            change = partial(attacked, setting, name, attack)
        if self.flags.kind == "delta" and change:
            self.x_adv = change(self.ds)
            change = partial(change, into=TRAIN)
        self.codec = given or fitted_codec(config, folder, change if self.model is None else None)

    def code(self, rows: range) -> bytes:
        """Return the file of some samples."""
        return self.codec.encode(
            self.ds.stack(rows)[0],
            kind=self.flags.kind,
            x_adv=self._changed(rows),
            model=self.model,
            task=self.task if self.model is not None else None,
            step=self.flags.step,
            bytes_per_sample=self.flags.bytes_per_sample,
            embed_tables=self.flags.embed_tables,
            network=self.network,
        )

    def _changed(self, rows: range) -> Tensor | None:
        return None if self.x_adv is None else self.x_adv[rows.start : rows.stop]

    def wanted(self, rows: range) -> Tensor:
        """Return what the file of some samples is decoded to, about, (B, ...)."""
        x, changed = self.ds.stack(rows)[0], self._changed(rows)
        return x if changed is None or self.network is not None else x - changed

    def measured(self, rows: range, blob: bytes) -> dict[str, Any]:
        """Decode a file and say what it keeps, as sums over its samples."""
        wanted, got = self.wanted(rows), self.codec.decode(blob, network=self.network)
        sums = {"samples": len(rows), "bytes": len(blob), "step": parse(blob).head.step}
        sums["psnr"] = float(psnr(wanted, got).double().sum())
        if self.model is not None:
            device = next(self.model.parameters(), torch.empty(0)).device
            before, after = (predict(self.model, v.to(device)).argmax(1) for v in (wanted, got))
            sums["kept"] = int((before == after).sum())
        return sums


def run_encode(config: CompressEncodeConfig, folder: RunFolder) -> None:
    """Code a split, file by file, and say what the files keep."""
    started = time.monotonic()
    encoder = Encoder(config, folder)
    parts, sums = files_of(encoder.ds), []
    with Progress(folder, "encode", total=len(parts)) as bar:
        for name, rows in parts.items():
            blob = kept_code(folder, name, partial(encoder.code, rows))
            note = folder.checkpoints / f"code-{name}.json"
            sums.append(once(note, partial(encoder.measured, rows, blob)))
            bar.step()
    write_scores(folder.path / "samples.csv", listed(encoder.ds, parts))
    picture = folder.figures / "code.png"
    draw(picture, encoder)
    summary = summarised(config, encoder, sums) | {"seconds": time.monotonic() - started}
    finish(config, folder, {"job": folder.job} | summary, pictures=[picture])


def files_of(ds: Dataset) -> dict[str, range]:
    """Return the samples that each file holds, by its name."""
    each = max(1, VALUES // math.prod(ds.shape))
    starts = range(0, len(ds), each)
    return {f"{i:05}": range(s, min(s + each, len(ds))) for i, s in enumerate(starts)}


def listed(ds: Dataset, parts: dict[str, range]) -> list[dict[str, Any]]:
    """Return a row a sample: its file, its number there, its id and class."""
    return [
        {
            "file": f"{CODES}/{name}{SUFFIX}",
            "number": i - rows.start,
            "id": ds.ids[i],
            "label": ds.classes[int(ds.labels[i])] if int(ds.labels[i]) >= 0 else "",
        }
        for name, rows in parts.items()
        for i in rows
    ]


def summarised(
    config: CompressEncodeConfig, encoder: Encoder, sums: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return summary.json; a number that does not apply is null."""
    total = {name: sum(part[name] for part in sums) for name in ("samples", "bytes", "psnr")}
    count = total["samples"]
    kept = sum(part["kept"] for part in sums) / count if "kept" in sums[0] else None
    each = total["bytes"] / count
    return {
        "kind": config.coding.kind,
        "codec": config.coding.codec or "codec.sprt",
        "samples": count,
        "files": len(sums),
        "bytes": total["bytes"],
        "bytes_per_sample": each,
        "bits_per_pixel": 8 * each / math.prod(encoder.ds.shape[1:]),
        "steps": [part["step"] for part in sums],
        "psnr": total["psnr"] / count,
        "top1_kept": kept,
    }


def draw(path: Path, encoder: Encoder) -> None:
    """Draw some samples, their code, and what it decodes to."""
    first = range(min(SHOWN, len(encoder.ds)))
    blob = kept_code(encoder.folder, "00000", partial(encoder.code, first))  # it is there
    wanted = encoder.wanted(first)
    some = coefficients(encoder.codec, blob, len(first))
    chunks = encoder.codec.decode_chunks(blob, network=encoder.network)
    got = torch.stack(list(samples_of(chunks, len(first))))
    differences = encoder.flags.kind == "delta" and encoder.network is None
    shown, title = shown_as(encoder.flags.kind, differences, wanted, got)
    rows = [
        [
            Cell(shown[0][i], encoder.ds.ids[i][-14:]),
            Cell(code_picture(some[i]), f"{int((some[i] != 0).sum())} not 0"),
            Cell(shown[1][i], f"{float(psnr(wanted[i : i + 1], got[i : i + 1])):.1f} dB"),
        ]
        for i in first
    ]
    heads = ("difference" if differences else "original", "code", "decoded")
    write_png(path, gallery(rows, heads=heads, title=title))


def shown_as(kind: Kind, differences: bool, *signals: Tensor) -> tuple[list[Tensor], str]:
    """Return samples or differences (B, ...) as pictures, and what to write above them."""
    if not differences:
        return list(signals), f"{kind}: samples and their code"
    factor = amplification(float(signals[0].abs().max()))
    title = f"differences, times {factor} around grey, and their code"
    return [(0.5 + factor * signal).clamp(0, 1) for signal in signals], title
