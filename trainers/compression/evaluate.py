"""The job `compress evaluate`: bytes against what codecs keep, ours, others, and controls.

Each point that is measured is a file of the run's checkpoints, so that a killed run goes on.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from attacks import RefusedInput
from augment import Dataset
from compress import Codec, Task
from compress.container import parse
from trainers.attack_files import write_scores
from trainers.compression import peers
from trainers.compression.files import kept_code, read_codec
from trainers.compression.fit import fitted_codec
from trainers.compression.panel import Panel, assemble, training
from trainers.compression.publish import finish
from trainers.compression.rate_figures import draw_curves, draw_pages
from trainers.compression.task_rate import payload, task_code
from trainers.evaluation import predict
from trainers.rounds import spread
from trainers.run.atomic import once
from trainers.run.checkpoint import save_tensors
from trainers.run.compress_config import CompressEvaluateConfig
from trainers.run.folder import RunFolder
from trainers.run.progress import Progress
from trainers.run.specs import build_task
from trainers.setting import load_split

log = logging.getLogger(__name__)
BITS = (0.25, 0.5, 1.0, 2.0)  # a pixel: the rates where none are given
VIDEO_SHARE = 0.2  # of them, for videos
TINY, TINY_SHARE = 16 * 16, 2.5  # pixels of pictures that take more
TRIED = 32  # samples by which another codec's quality is found
SHOWN = 6  # samples in pictures
VALUES = 2**30  # of all samples, at most: 4 GiB
Row = dict[str, Any]
Made = tuple[Row, Tensor]


@dataclass(frozen=True)
class Bench:
    """What points are measured with.

    Attributes:
        config: the job's options.
        folder: its run folder.
        test: the samples.
        train: the training samples, for exemplars; or None.
        codec: ours.
        task: the search of its x-task.
        panel: who looks at reconstructions.
        warnings: what could not be measured, and why.
    """

    config: CompressEvaluateConfig
    folder: RunFolder
    test: Dataset
    train: Dataset | None
    codec: Codec
    task: Task
    panel: Panel
    warnings: list[str]

    @property
    def pixels(self) -> int:
        """Pixels of a sample, in all its frames."""
        return math.prod(self.test.shape[1:])

    @property
    def rates(self) -> list[float]:
        """Bytes a sample to measure at, ascending."""
        share = VIDEO_SHARE if self.test.is_video else 1.0
        share = TINY_SHARE if self.pixels < TINY else share
        usual = [share * bits * self.pixels / 8 for bits in BITS]
        return sorted(set(self.config.measure.rates)) or usual


def run_evaluate(config: CompressEvaluateConfig, folder: RunFolder) -> None:
    """Measure every codec at every rate, and the controls."""
    started = time.monotonic()
    bench = open_bench(config, folder)
    points = measured(bench)
    curves = draw_curves(folder.figures, points)
    pages = draw_pages(folder, bench.codec, bench.test, points)
    write_scores(folder.path / "points.csv", points)
    summary = {
        "job": folder.job,
        "samples": len(bench.test),
        "points": points,
        "warnings": bench.warnings,
        "seconds": time.monotonic() - started,
    }
    for point in points:
        name = f"{point['codec']}-{point['rate']}"
        values = {
            f"{point['codec']}/{key}": value
            for key, value in point.items()
            if isinstance(value, float) and key != "rate"
        }
        folder.metrics.add(name, step=round(point["bytes_per_sample"]), values=values)
    finish(config, folder, summary, pictures=[*curves, *pages])


def open_bench(config: CompressEvaluateConfig, folder: RunFolder) -> Bench:
    """Load samples, codec, classifier and judge; all refusals come from here."""
    warnings: list[str] = []
    task = build_task(config.measure.task)
    given = read_codec(config.measure.codec) if config.measure.codec else None
    test = load_split(config, "test")
    if len(test) * math.prod(test.shape) > VALUES:
        raise RefusedInput(
            f"{len(test)} samples of {test.shape} are more than 4 GiB; give fewer --test-samples"
        )
    train = training(config, test, warnings)
    codec = given or fitted_codec(config, folder)
    panel = assemble(config, folder, test, train, warnings)
    return Bench(config, folder, test, train, codec, task, panel, warnings)


def measured(bench: Bench) -> list[Row]:
    """Measure what has not been measured yet, and return all points."""
    jobs = jobs_of(bench)
    points: list[Row] = []
    kept = bench.folder.checkpoints / "points"
    done = sum((kept / f"{name}.json").exists() for name in jobs)
    with Progress(bench.folder, "measure", total=len(jobs), done=done) as bar:
        for name, job in jobs.items():
            new = not (kept / f"{name}.json").exists()
            point = once(kept / f"{name}.json", partial(measure, bench, name, job))
            if "impossible" in point:
                bench.warnings.append(point["impossible"])
            elif not any(same(point, other) for other in points):
                points.append(point)
            if new:
                bar.step()
    return points


def same(a: Row, b: Row) -> bool:
    """Tell whether another codec's files are the same at two rates: it has none smaller."""
    return a["setting"] is not None and (a["codec"], a["setting"]) == (b["codec"], b["setting"])


def measure(bench: Bench, name: str, job: Callable[[], Made]) -> Row:
    """Do one job: code, decode, and ask the panel."""
    started = time.monotonic()
    try:
        row, got = job()
    except ValueError as error:  # no step gives so few or so many bytes
        log.warning("%s is left out: %s", name, error)
        return {"impossible": f"{name} is left out: {error}"}
    seconds = time.monotonic() - started
    shown = spread(len(got), SHOWN)
    save_tensors(bench.folder.checkpoints / "shown" / f"{name}.safetensors", {"x": got[shown]})
    each = row["bytes_per_sample"]
    numbers = bench.panel.measure(got)
    return {"name": name, **row, "bits_per_pixel": 8 * each / bench.pixels, **numbers} | {
        "seconds": seconds
    }


def jobs_of(bench: Bench) -> dict[str, Callable[[], Made]]:
    """Return everything that is to be measured, by name."""
    flags, panel = bench.config.measure, bench.panel
    kinds = [kind for kind in dict.fromkeys(("x", *flags.kinds)) if kind == "x" or panel.model]
    among = peers.VIDEOS if bench.test.is_video else peers.IMAGES
    jobs: dict[str, Callable[[], Made]] = {}
    for kind in kinds:
        for rate in bench.rates:
            jobs[f"{kind}-{rate:g}"] = partial(ours, bench, kind, rate)
    for name in dict.fromkeys(flags.peers):
        peer = among.get(name)
        if peer and len(bench.test.shape) and bench.test.shape[0] not in (1, 3):
            bench.warnings.append(f"{name} codes 1 or 3 channels, not {bench.test.shape[0]}")
        elif peer and peer.missing:
            bench.warnings.append(f"{name} is left out: {peer.missing}")
        elif peer:
            for rate in bench.rates:
                jobs[f"{name}-{rate:g}"] = partial(theirs, bench, name, peer, rate)
    jobs["zeros"] = partial(zeros, bench)
    if panel.model is not None and bench.train is not None:
        jobs["label"] = partial(label, bench)
    return jobs


def point(codec: str, rate: float | None, size: float, payload: float | None, **more: Any) -> Row:
    """Return what is known of a point before it is looked at."""
    always = {"codec": codec, "rate": rate, "bytes_per_sample": size, "payload_bytes": payload}
    return always | {"bytes_with_tables": None, "setting": None} | more


def ours(bench: Bench, kind: str, rate: float) -> Made:
    """Code all samples as one file, of so many bytes a sample without its head."""
    x, model = bench.panel.x, bench.panel.model

    def make() -> bytes:
        if kind == "x-task" and model is not None:
            return task_code(bench.codec, x, model, bench.task, rate)
        return bench.codec.encode(x, bytes_per_sample=rate)

    blob, count = kept_code(bench.folder, f"{kind}-{rate:g}", make), len(bench.test)
    tables = len(bench.codec.tables.packed)
    row = point(
        kind,
        rate,
        len(blob) / count,
        payload(blob),
        bytes_with_tables=(len(blob) + tables + 4) / count,  # 4: their check sum
        setting=parse(blob).head.step,
    )
    return row, bench.codec.decode(blob)


def theirs(bench: Bench, name: str, peer: peers.Peer, rate: float) -> Made:
    """Code each sample as a file of its own, of so many bytes on average without heads."""
    samples = list(bench.panel.x)
    quality = peers.quality_for(peer, [samples[i] for i in spread(len(samples), TRIED)], rate)
    sizes, payloads, got = zip(*(peer.code(x, quality) for x in samples), strict=True)
    count = len(samples)
    row = point(name, rate, sum(sizes) / count, sum(payloads) / count, setting=quality)
    return row, torch.stack(got)


def zeros(bench: Bench) -> Made:
    """Send nothing: every sample is mid-grey."""
    return point("zeros", None, 0.0, 0.0), torch.full_like(bench.panel.x, 0.5)


def label(bench: Bench) -> Made:
    """Send the classifier's answer alone, and once for all one training sample of each class.

    A class's exemplar is the training sample that the classifier is surest of, coded at the
    highest rate.
    """
    panel, train = bench.panel, bench.train
    assert panel.model is not None
    assert train is not None
    answers = panel.answers(panel.model, panel.x)
    assert answers is not None
    rows = exemplars(panel, train)
    blob = bench.codec.encode(train.stack(rows)[0], bytes_per_sample=max(bench.rates))
    bits, count = math.log2(len(rows)), len(bench.test)
    got = bench.codec.decode(blob)[answers.clamp_max(len(rows) - 1)]
    size = bits / 8 + len(blob) / count
    return point("label", None, size, bits / 8), got


def exemplars(panel: Panel, train: Dataset) -> list[int]:
    """Return, for each class, the training sample of it that the classifier is surest of."""
    assert panel.model is not None
    parts = [
        predict(panel.model, train.stack(rows)[0].to(panel.device)).softmax(1).cpu()
        for rows in torch.split(torch.arange(len(train)), panel.batch_size)
    ]
    scores = torch.cat(parts)  # (N, K)
    own = torch.nn.functional.one_hot(train.labels, scores.shape[1]).bool()
    return (scores * own).argmax(0)[: train.num_classes].tolist()
