"""The job `compress evaluate`: bytes against what codecs keep, ours, others, and controls.

Each point that is measured is a file of the run's checkpoints, so that a killed run goes on.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from attacks import Attack, RefusedInput
from augment import Dataset
from compress.network.restoration_net import RestorationNet
from trainers.jobs.attack_files import write_scores
from trainers.jobs.compress.attacked import attacked, chosen_attack
from trainers.jobs.compress.benchmark.bench import Bench, Differences, Made, Row, jobs_of
from trainers.jobs.compress.benchmark.panel import Panel, assemble, training
from trainers.jobs.compress.benchmark.rate_figures import draw_curves, draw_pages, shown_file
from trainers.jobs.compress.files import DELTA_CODEC, check_network, read_codec, sealed_code
from trainers.jobs.compress.fit import TRAIN, fitted_codec
from trainers.jobs.compress.publish import finish
from trainers.jobs.rounds import spread
from trainers.reconstruction.files import load_network
from trainers.run.cli.compress_config import CompressEvaluateConfig
from trainers.run.cli.specs import build_task
from trainers.run.folder.atomic import kept, once
from trainers.run.folder.checkpoint import save_item
from trainers.run.folder.folder import RunFolder
from trainers.run.setting import Setting, check_kind, load_split
from trainers.run.show.progress import Progress

log = logging.getLogger(__name__)
SHOWN = 6  # samples in pictures
VALUES = 2**30  # of all samples, at most: 4 GiB


def run_evaluate(config: CompressEvaluateConfig, folder: RunFolder) -> None:
    """Measure every codec at every rate, and the controls."""
    started = time.monotonic()
    bench = open_bench(config, folder)
    points = measured(bench)
    curves = draw_curves(folder.figures, points)
    pages = draw_pages(folder, bench.codec_of, bench.test, points)
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
    task = build_task(config.measure.task, smoke=config.run.smoke)
    flags = config.measure
    given = read_codec(flags.codec) if flags.codec else None
    network = restorer(flags.network, flags.kinds)
    attack = chosen_attack(config, flags.attack)
    test = load_split(config, "test", folder)
    if len(test) * math.prod(test.shape) > VALUES:
        raise RefusedInput(
            f"{len(test)} samples of {test.shape} are more than 4 GiB; give fewer --test-samples"
        )
    if network is not None:
        check_network(str(flags.network), network, test.name, test.shape)
    train = training(config, folder, test, warnings)
    panel = assemble(config, folder, test, train, warnings)
    codec = given or fitted_codec(config, folder)
    differences = changed(config, folder, panel, attack, test) if "delta" in flags.kinds else None
    return Bench(config, folder, test, train, codec, differences, task, network, panel, warnings)


def changed(
    config: CompressEvaluateConfig,
    folder: RunFolder,
    panel: Panel,
    chosen: tuple[str, Attack],
    test: Dataset,
) -> Differences | None:
    """Attack the samples, and load or fit the codec of differences; None without a classifier."""
    if panel.model is None:
        return None
    name, attack = chosen
    check_kind({name: attack}, test)
    setting = Setting(config, folder, panel.model, panel.device)
    given, change = config.measure.delta_codec, partial(attacked, setting, name, attack)
    if given:
        codec = read_codec(given)
    else:
        to_fit = partial(change, into=TRAIN)
        codec = fitted_codec(config, folder, to_fit, name=DELTA_CODEC)
    return Differences(codec, change(test))


def restorer(file: str | None, kinds: Sequence[str]) -> RestorationNet | None:
    """Load R.

    Raises:
        RefusedInput: for a file that holds none, or one for a kind that is not measured.
    """
    network = load_network(Path(file)) if file else None
    if network is not None and network.config.kind not in ("x", *kinds):
        raise RefusedInput(
            f"{file} restores files of kind {network.config.kind}, which are not measured; add "
            f"{network.config.kind} to --kinds, or give another network"
        )
    return network


def measured(bench: Bench) -> list[Row]:
    """Measure what has not been measured yet, and return all points."""
    jobs = jobs_of(bench)
    points: list[Row] = []
    items = {name: bench.folder.checkpoints / "points" / f"{name}.json" for name in jobs}
    done = {name for name, item in items.items() if kept(item)}
    with Progress(bench.folder, "measure", total=len(jobs), done=len(done)) as bar:
        for name, job in jobs.items():
            beside = partial(pictured, bench.folder, name)
            point = once(items[name], partial(measure, bench, name, job), beside=beside)
            if "impossible" in point:
                bench.warnings.append(point["impossible"])
            elif not any(same(point, other) for other in points):
                points.append(point)
            if name not in done:
                bar.step()
    return points


def pictured(folder: RunFolder, name: str) -> list[Path]:
    """Return what is kept of a job for the pictures, if anything."""
    files = [shown_file(folder, name), *sealed_code(folder, name)]
    return [file for file in files if file.is_file()]


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
    save_item(shown_file(bench.folder, name), {"x": got[shown]})
    each = row["bytes_per_sample"]
    numbers = bench.panel.measure(got)
    return {"name": name, **row, "bits_per_pixel": 8 * each / bench.pixels, **numbers} | {
        "seconds": seconds
    }
