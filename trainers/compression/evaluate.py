"""The job `compress evaluate`: bytes against what codecs keep, ours, others, and controls.

Each point that is measured is a file of the run's checkpoints, so that a killed run goes on.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from attacks import RefusedInput
from compress.network import Network
from trainers.attack_files import write_scores
from trainers.compression.bench import Bench, Made, Row, jobs_of
from trainers.compression.files import read_codec
from trainers.compression.fit import fitted_codec
from trainers.compression.panel import assemble, training
from trainers.compression.publish import finish
from trainers.compression.rate_figures import draw_curves, draw_pages
from trainers.reconstruction_files import load_network
from trainers.rounds import spread
from trainers.run.atomic import once
from trainers.run.checkpoint import save_tensors
from trainers.run.compress_config import CompressEvaluateConfig
from trainers.run.folder import RunFolder
from trainers.run.progress import Progress
from trainers.run.specs import build_task
from trainers.setting import load_split

log = logging.getLogger(__name__)
SHOWN = 6  # samples in pictures
VALUES = 2**30  # of all samples, at most: 4 GiB


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
    network = restorer(config.measure.network)
    test = load_split(config, "test")
    if len(test) * math.prod(test.shape) > VALUES:
        raise RefusedInput(
            f"{len(test)} samples of {test.shape} are more than 4 GiB; give fewer --test-samples"
        )
    train = training(config, test, warnings)
    codec = given or fitted_codec(config, folder)
    panel = assemble(config, folder, test, train, warnings)
    return Bench(config, folder, test, train, codec, task, network, panel, warnings)


def restorer(file: str | None) -> Network | None:
    """Load R.

    Raises:
        RefusedInput: for a file that holds none, or one for differences.
    """
    network = load_network(Path(file)) if file else None
    if network is not None and network.config.kind == "delta":
        raise RefusedInput(
            f"{file} restores differences, which are not measured here; give one that "
            "`compress fit --kind x --network` made"
        )
    return network


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
