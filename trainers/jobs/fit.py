"""The job `fit`: a classifier fitted by a training method, and what it withstands."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from attacks import Attack
from augment import Dataset
from trainers.evaluate.budgets import Budget, budget_of
from trainers.evaluate.scores import AttackMeasurement
from trainers.fit.augmentation import build_augmentation
from trainers.fit.fit_or_load import (
    check_inner_problem,
    fit_options,
    fit_or_load,
    with_budget,
)
from trainers.fit.state import Record
from trainers.jobs.evaluate import make_summary, measure_attacks, publish
from trainers.run.cli.config import FitConfig, FitFlags
from trainers.run.cli.specs import attack_defaults, build_attacks
from trainers.run.cli.toml import dump
from trainers.run.folder.folder import RunFolder
from trainers.run.job_context import JobContext, load_job_classifier, load_splits
from trainers.run.show.images import write_png
from trainers.run.show.outcome import fit_table
from trainers.run.show.plots import line_chart, to_picture
from trainers.run.show.tensorboard_writer import TensorBoardWriter


def run_fit(config: FitConfig, folder: RunFolder) -> None:
    """Fit the classifier, measure it on test samples, and write what came of it."""
    flags = with_budget(
        config.fit, config.source.data, norm=config.measure.norm, eps=config.measure.eps
    )
    context, attacks, train, test = setup(config, folder, flags)
    text = dump(folder.job, config)
    board = TensorBoardWriter(folder.path / "tensorboard", folder.metrics, text)
    file = folder.checkpoints / "round-000.safetensors"
    history = fit_or_load(context, file, train, flags=flags, number=0)
    results = measure_attacks(context, attacks, test)
    summary = summarise_fit(config, flags, history, results)
    folder.metrics.add("fitted", step=0, values={"clean_accuracy": summary["clean_accuracy"]})
    chart = folder.figures / "fit.png"
    write_png(chart, to_picture(accuracy_chart(history)))
    publish(folder, board, summary, fit_table(summary), config=text, pictures=[chart])


def setup(
    config: FitConfig, folder: RunFolder, flags: FitFlags
) -> tuple[JobContext, Mapping[str, Attack], Dataset, Dataset]:
    """Load the classifier and the samples, build the attacks; all refusals come from here.

    Returns:
        The classifier, the attacks it is measured with, training and test samples.
    """
    measure = config.measure
    defaults = attack_defaults(config, eps=measure.eps, norm=measure.norm, measuring=True)
    attacks = build_attacks(measure.test_attacks, defaults=defaults)
    fit_options(flags, first=True, batch_size=config.source.batch_size)
    train, test = load_splits(config, folder, attacks)
    build_augmentation(flags.augmentation, train)
    context = load_job_classifier(config, folder, train)
    check_inner_problem(flags, context.model)
    return context, attacks, train, test


def summarise_fit(
    config: FitConfig,
    flags: FitFlags,
    history: Sequence[Record],
    results: Mapping[str, AttackMeasurement],
) -> dict[str, Any]:
    """Return summary.json: how the classifier was fitted, and what `evaluate` says of it."""
    measured = make_summary(results, usual_budget=budget_of(config.measure), job="fit")
    budget = None
    if flags.method != "standard" and flags.train_norm:
        budget = str(Budget(flags.train_norm, flags.train_eps))
    fitted = {"method": flags.method, "train_budget": budget, "history": list(history)}
    return measured | fitted


def accuracy_chart(history: Sequence[Record]) -> Figure:
    """Draw the accuracy on training samples as fitted, an epoch a point."""
    points = [(record["epoch"] + 1, record["accuracy"]) for record in history]
    title = "Accuracy on training samples, as fitted"
    return line_chart({"accuracy": points}, title=title, x_label="epoch", y_label="share")
