"""The job `compress evaluate`: bytes against what codecs keep, ours, others, and controls.

Each point that is measured is a file of the run's checkpoints, so that a killed run goes on.
"""

import logging
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from torch import Tensor

from attacks import Attack, RefusedInput
from augment import Dataset
from compress import Codec
from trainers.evenly_spaced import evenly_spaced
from trainers.jobs.attack_files import write_csv
from trainers.jobs.compress.attack_resumable import attack_resumable, choose_attack
from trainers.jobs.compress.benchmark.benchmark import Benchmark, Outcome, Row, list_measurements
from trainers.jobs.compress.benchmark.evaluators import Evaluators, load_evaluators
from trainers.jobs.compress.benchmark.rate_figures import draw_curves, draw_pages, shown_path
from trainers.jobs.compress.files import (
    DELTA_CODEC,
    check_network,
    code_paths,
    load_network_for,
    read_codec,
)
from trainers.jobs.compress.fit import TRAIN, fit_or_load_codec
from trainers.jobs.compress.publish_outcome import publish_outcome
from trainers.run.cli.jobs.compress import CompressEvaluateConfig
from trainers.run.cli.specs.attacks import build_task
from trainers.run.folder.atomic import cached_json, is_cached
from trainers.run.folder.checkpoint import save_item
from trainers.run.folder.folder import RunFolder
from trainers.run.job_context import JobContext, check_attacks, load_split
from trainers.run.show.progress import Progress

log = logging.getLogger(__name__)
SHOWN = 6  # samples in pictures
VALUES = 2**30  # of all samples, at most: 4 GiB


def run_evaluate(config: CompressEvaluateConfig, folder: RunFolder) -> None:
    """Measure every codec at every rate, and the controls."""
    started = time.monotonic()
    benchmark = setup(config, folder)
    points = measure_all(benchmark)
    curves = draw_curves(folder.figures, points)
    pages = draw_pages(folder, benchmark.codec_of, benchmark.test, points)
    write_csv(folder.path / "points.csv", points)
    summary = {
        "job": folder.job,
        "samples": len(benchmark.test),
        "points": points,
        "warnings": benchmark.warnings,
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
    publish_outcome(config, folder, summary, pictures=[*curves, *pages])


def setup(config: CompressEvaluateConfig, folder: RunFolder) -> Benchmark:
    """Load samples, codec, classifier and judge; all refusals come from here."""
    warnings: list[str] = []
    task = build_task(config.measure.task, smoke=config.run.smoke)
    flags = config.measure
    given = read_codec(flags.codec) if flags.codec else None
    advice = "which are not measured; add that to --kinds, or give another network"
    network = load_network_for(flags.network, ["x", *flags.kinds], advice)
    attack = choose_attack(config, flags.attack)
    test = load_split(config, "test", folder)
    if len(test) * math.prod(test.shape) > VALUES:
        raise RefusedInput(
            f"{len(test)} samples of {test.shape} are more than 4 GiB; give fewer --test-samples"
        )
    check_network(flags.network, network, test.name, [test.shape])
    evaluators = load_evaluators(config, folder, test, warnings)
    codec = given or fit_or_load_codec(config, folder)
    delta_codec, x_adv = perturb_samples(config, folder, evaluators, attack, test)
    return Benchmark(
        config, folder, test, codec, delta_codec, x_adv, task, network, evaluators, warnings
    )


def perturb_samples(
    config: CompressEvaluateConfig,
    folder: RunFolder,
    evaluators: Evaluators,
    chosen: tuple[str, Attack],
    test: Dataset,
) -> tuple[Codec, Tensor] | tuple[None, None]:
    """Load or fit the codec of differences, and attack the samples, where these are measured."""
    flags, (name, attack) = config.measure, chosen
    if "delta" not in flags.kinds or evaluators.model is None:
        return None, None
    check_attacks({name: attack}, test)
    context = JobContext(config, folder, evaluators.model, evaluators.device)
    change = partial(attack_resumable, context, name, attack)
    if flags.delta_codec:
        codec = read_codec(flags.delta_codec)
    else:
        to_fit = partial(change, into=TRAIN)
        codec = fit_or_load_codec(config, folder, to_fit, name=DELTA_CODEC)
    return codec, change(test)


def measure_all(benchmark: Benchmark) -> list[Row]:
    """Measure what has not been measured yet, and return all points."""
    jobs = list_measurements(benchmark)
    points: list[Row] = []
    items = {name: benchmark.folder.checkpoints / "points" / f"{name}.json" for name in jobs}
    done = {name for name, item in items.items() if is_cached(item)}
    with Progress(benchmark.folder, "measure", total=len(jobs), done=len(done)) as bar:
        for name, job in jobs.items():
            make = partial(measure_point, benchmark, name, job, progress=bar.within)
            beside = partial(shown_files, benchmark.folder, name)
            point = cached_json(items[name], make, beside=beside)
            if "impossible" in point:
                benchmark.warnings.append(point["impossible"])
            elif not any(is_same_file(point, other) for other in points):
                points.append(point)
            if name not in done:
                bar.step()
    return points


def shown_files(folder: RunFolder, name: str) -> list[Path]:
    """Return what is kept of a job for the pictures, if anything."""
    files = [shown_path(folder, name), *code_paths(folder, name)]
    return [file for file in files if file.is_file()]


def is_same_file(a: Row, b: Row) -> bool:
    """Tell whether another codec's files are the same at two rates: it has none smaller."""
    return a["setting"] is not None and (a["codec"], a["setting"]) == (b["codec"], b["setting"])


def measure_point(
    benchmark: Benchmark,
    name: str,
    job: Callable[[], Outcome],
    *,
    progress: Callable[[int, int], None],
) -> Row:
    """Do one job: code, decode, and ask the evaluators."""
    started = time.monotonic()
    try:
        row, got = job()
    except ValueError as error:  # no step gives so few or so many bytes
        log.warning("%s is left out: %s", name, error)
        return {"impossible": f"{name} is left out: {error}"}
    seconds = time.monotonic() - started
    progress(1, 2)
    shown = evenly_spaced(len(got), SHOWN)
    save_item(shown_path(benchmark.folder, name), {"x": got[shown]})
    bits = {"bits_per_pixel": 8 * row["bytes_per_sample"] / benchmark.pixels}
    numbers = benchmark.evaluators.measure(got)
    return {"name": name, **row, **bits, **numbers, "seconds": seconds}
