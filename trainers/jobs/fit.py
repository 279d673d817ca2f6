"""The job `fit`: a classifier fitted by a training method, and what it withstands."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from attacks import Attack
from attacks.errors import RefusedInput
from attacks.files import digest
from augment import Dataset, MixedDataset, SampleBank
from trainers.evaluate.budgets import Budget, budget_of
from trainers.evaluate.scores import AttackMeasurement
from trainers.fit.augmentation import build_augmentation
from trainers.fit.classifier import FitResult
from trainers.fit.fit_or_load import fit_options, fit_or_load, with_budget
from trainers.fit.state import Record
from trainers.jobs.evaluate import make_summary, measure_attacks, publish, show_failures
from trainers.jobs.evaluation.answers import strongest_attack
from trainers.run.cli.config import FitConfig, FitFlags, LoneFitFlags
from trainers.run.cli.specs.attacks import attack_defaults, build_attacks
from trainers.run.cli.toml import dump
from trainers.run.folder.atomic import cached_json
from trainers.run.folder.folder import RunFolder, remove_items
from trainers.run.folder.metrics import Stopwatch
from trainers.run.job_context import (
    JobContext,
    load_job_classifier,
    load_splits,
    load_static,
    load_validation,
)
from trainers.run.show.outcome import fit_table
from trainers.run.show.plots import line_chart, write_chart
from trainers.run.show.tensorboard_writer import TensorBoardWriter


def run_fit(config: FitConfig, folder: RunFolder) -> None:
    """Fit the classifier, measure it on test samples, and write what came of it."""
    flags = with_budget(
        config.fit, config.source.data, norm=config.measure.norm, eps=config.measure.eps
    )
    context, attacks, train, test = setup(config, folder, flags)
    val = load_validation(config, folder, count=flags.val_samples)
    static = load_static(config, folder, train, flags.static)
    text = dump(folder.job, config)
    board = TensorBoardWriter(folder.path / "tensorboard", folder.metrics, text)
    file = folder.checkpoints / "round-000.safetensors"
    samples = join_bank(train, folder, flags, seed=context.seed)
    stopwatch = folder.stopwatch = Stopwatch(folder.checkpoints / "fit/seconds.json")
    fitted = fit_or_load(context, file, samples, flags=flags, number=0, val=val, static=static)
    took = cached_json(folder.checkpoints / "fit.json", lambda: {"seconds": stopwatch.seconds})
    folder.stopwatch = None
    remove_items(folder.checkpoints / "fit")
    results = measure_attacks(context, attacks, test)
    summary = summarise_fit(config, flags, fitted, results) | {"fitting": took}
    summary["failures"] = show_failures(context, attacks, test, strongest_attack(results, None))
    write_chart(folder.figures / "fit.png", accuracy_chart(fitted.history))
    publish(folder, board, summary, fit_table(summary))


def join_bank(train: Dataset, folder: RunFolder, flags: LoneFitFlags, *, seed: int) -> Dataset:
    """Return the training samples, with those of the bank beside them where there is one.

    Raises:
        RefusedInput: when the folder holds no bank with accepted samples of these, or another than
            when the run was begun.
    """
    if flags.bank is None:
        return train
    bank = SampleBank(flags.bank)
    accepted = bank.indices(status="accepted")
    if not accepted:
        raise RefusedInput(
            f"--bank {flags.bank} holds no accepted samples; give the bank/ of a rounds run that "
            "has retrained"
        )
    entries = bank.entries()
    chosen = "\n".join(f"{entries[i].id} {entries[i].hash}" for i in accepted)
    folder.inputs.check(f"--bank {flags.bank}", digest({}, chosen))
    try:
        return MixedDataset(train, bank, ratio=flags.ratio, seed=seed)
    except ValueError as error:
        raise RefusedInput(f"--bank {flags.bank}: {error}") from error


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
    fit_options(flags, batch_size=config.source.batch_size)
    train, test = load_splits(config, folder, attacks)
    build_augmentation(flags.augmentation, train)
    return load_job_classifier(config, folder, train), attacks, train, test


def summarise_fit(
    config: FitConfig,
    flags: FitFlags,
    fitted: FitResult,
    results: Mapping[str, AttackMeasurement],
) -> dict[str, Any]:
    """Return summary.json: how the classifier was fitted, and what `evaluate` says of it."""
    measured = make_summary(results, usual_budget=budget_of(config.measure), job="fit")
    budget = None
    if flags.method != "standard" and flags.train_norm:
        budget = str(Budget(flags.train_norm, flags.train_eps))
    if fitted.warning:
        measured["warnings"].append(fitted.warning)
    how = {"method": flags.method, "train_budget": budget, "kept_epoch": fitted.kept}
    return measured | how | {"history": list(fitted.history)}


def accuracy_chart(history: Sequence[Record]) -> Figure:
    """Draw the accuracy on training samples as fitted, and on validation samples under attack."""
    curves = {
        "training samples, as fitted": "accuracy",
        "validation samples, under PGD": "robust_accuracy",
    }
    points = {
        label: [(record["epoch"] + 1, record[name]) for record in history]
        for label, name in curves.items()
        if name in history[0]
    }
    return line_chart(
        points, title="Accuracy while fitting", x_label="epoch", y_label="share right"
    )
