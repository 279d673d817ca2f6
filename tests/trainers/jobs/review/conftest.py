"""A run folder with a bank, made without a run."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from augment import Dataset, SampleBank, load_dataset
from trainers.jobs.review.queue import ReviewQueue, build_queue
from trainers.run.cli.config import RoundsConfig
from trainers.run.cli.toml import dump, with_digest
from trainers.run.folder.claim import LOCK, MARK

CLASSES = ("<img src=x onerror=alert(1)>", "bird & bee", "dog")
MakeRun = Callable[..., Path]


def fill_bank(bank: SampleBank, ds: Dataset, rows: list[int], *, key: str, round: int = 1) -> None:
    """Store brighter copies of some samples, each of them another."""
    x, y = ds.stack(rows)
    x = (x + torch.arange(1, len(rows) + 1).view(-1, *[1] * (x.ndim - 1)) / 255).clamp(0, 1)
    entries = [
        {
            "source": ds.ids[row], "label": int(y[i]), "round": round, "attack": "pgd", "seed": 0,
            "loss": 0.0, "linf": (i + 1) / 255, "l2": float(i + 1), "l1": 1.0,
        }
        for i, row in enumerate(rows)
    ]  # fmt: skip
    bank.append(key, x, entries)


def write_images(folder: Path) -> None:
    """Write ten grey images of each of three classes; class and file names hold HTML."""
    for split, count in (("train", 10), ("test", 1)):
        for number, name in enumerate(CLASSES):
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                image = Image.new("L", (8, 8), 20 + 60 * number + i)
                image.putpixel((i % 8, 0), 255)
                image.save(folder / split / name / f"<b>{i}.png")


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Return what makes a run folder of some data with a bank of its first training samples."""

    def make(count: int = 16, *, data: str = "") -> Path:
        if not data:
            write_images(tmp_path / "images")
            data = f"imagefolder:{tmp_path / 'images'}"
        run = tmp_path / "run"
        run.mkdir()
        (run / LOCK).write_text(MARK)
        config = RoundsConfig()
        config = replace(config, source=replace(config.source, data=data))
        (run / "config.toml").write_text(with_digest(dump("rounds", config)))
        (run / "inputs.json").write_text(json.dumps({}))
        fill_bank(
            SampleBank(run / "bank"), load_dataset(data, "train"), list(range(count)), key="a"
        )
        return run

    return make


def open_queue(folder: Path, originals: Dataset | None, *, controls: float = 0.2) -> ReviewQueue:
    """Build the queue of a bank."""
    return build_queue(SampleBank(folder), originals, controls=controls, seed=0)
