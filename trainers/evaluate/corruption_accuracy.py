"""Accuracy on corrupted samples, item by item, so that a killed run goes on."""

from collections.abc import Sequence
from typing import Any

import torch

from attacks.common.randomness import derive_seed
from augment import Dataset, iterate
from augment.corruptions import CORRUPTIONS, benchmark_for
from trainers.evaluate.evaluation import predict, top_classes
from trainers.evaluate.measure_resumable import item_files, load_batches
from trainers.evaluate.scores import Columns
from trainers.intervals import wilson
from trainers.run.folder.checkpoint import is_finished, save_item
from trainers.run.folder.metrics import Stopwatch
from trainers.run.job_context import JobContext
from trainers.run.show.progress import Progress


def measure_corruptions(
    context: JobContext, ds: Dataset, *, names: Sequence[str], severities: Sequence[int]
) -> dict[str, Any]:
    """Measure a classifier on all samples under each corruption in each severity.

    A sample's random numbers follow from the run's seed, the corruption, the severity and the
    sample's id.

    Args:
        context: the run, whose folder keeps each batch that is finished.
        ds: labelled samples, N.
        names: of `CORRUPTIONS`.
        severities: from 1 to 5.

    Returns:
        What `summarise_corruptions` does, with the benchmark whose parameters were taken and the
        seconds spent.
    """
    folder = context.folder.checkpoints / "test-corruptions"
    files = item_files(folder, context, ds)
    missing = [i for i, file in enumerate(files) if not is_finished(file)]
    size = context.batch_size
    rows = [row for i in missing for row in range(i * size, min((i + 1) * size, len(ds)))]
    batches = iterate(ds.subset(rows), batch_size=size, device=context.device)
    total, done = (len(names) * count for count in (len(files), len(files) - len(missing)))
    stopwatch = Stopwatch(folder / "seconds.json")
    with Progress(context.folder, "measure corruptions", total=total, done=done) as bar:
        for i, (x, y, places) in zip(missing, batches, strict=True):
            ids = [derive_seed(ds.ids[rows[place]]) for place in places.tolist()]
            right: Columns = {}
            for name in names:
                corrupted = (
                    CORRUPTIONS[name](x, severity=s, seed=context.seed, sample_ids=ids)
                    for s in severities
                )
                answers = [top_classes(predict(context.model, each)) == y for each in corrupted]
                right[name] = torch.stack(answers, 1)  # (B, S) bool
                bar.step()
            stopwatch.keep()  # before the item: one that is done has its time in the file
            save_item(files[i], right)
    stopwatch.keep()
    columns, _ = load_batches(folder, context, ds)
    return {
        "benchmark": benchmark_for(ds.shape),
        **summarise_corruptions({name: columns[name] for name in names}, severities),
        "seconds": stopwatch.seconds,
    }


def summarise_corruptions(right: Columns, severities: Sequence[int]) -> dict[str, Any]:
    """Return accuracies by corruption and severity, ready for JSON.

    Intervals of means over severities and corruptions are those of N samples, not of N times as
    many images: those of one sample are not independent. They are rather too wide than too narrow.

    Args:
        right: by corruption, which samples are right, (N, S) bool.
        severities: S of them.

    Returns:
        samples, severities, the mean accuracy over all, the mean corruption error, 1 less that (not
        divided by AlexNet's), and by corruption the accuracy over all severities and in each;
        every accuracy with its 95 % interval.
    """
    every = torch.stack(list(right.values()), 1).double()  # (N, K, S)
    overall = _rate(every.flatten(1).mean(1))
    return {
        "samples": len(every),
        "severities": list(severities),
        **overall,
        "mean_corruption_error": 1 - overall["accuracy"],
        "corruptions": {
            name: {
                **_rate(answers.double().mean(1)),
                "by_severity": {
                    str(s): _rate(answers[:, column].double())
                    for column, s in enumerate(severities)
                },
            }
            for name, answers in right.items()
        },
    }


def _rate(share: torch.Tensor) -> dict[str, Any]:
    """Return the mean of (N,) shares from 0 to 1, with the interval of N samples."""
    accuracy, n = float(share.mean()), len(share)
    return {"accuracy": accuracy, "interval": wilson(round(accuracy * n), n)}
