"""Fit a job's classifier so that a killed run goes on after its last epoch."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from attacks.attack import Norm
from attacks.common.randomness import derive_seed
from augment import Dataset
from trainers.fit.augmentation import build_augmentation
from trainers.fit.classifier import fit_classifier
from trainers.fit.options import FitOptions
from trainers.fit.state import FitState, Record
from trainers.run.cli.config import FitFlags, SamplesConfig
from trainers.run.cli.presets import EMBEDDED, budget, data_preset, smoke_preset
from trainers.run.folder.atomic import is_present
from trainers.run.folder.checkpoint import load_item, save_item
from trainers.run.folder.folder import RunFolder
from trainers.run.job_context import JobContext, load_job_classifier, load_split
from trainers.run.show.progress import Progress

log = logging.getLogger(__name__)
F = TypeVar("F", bound=FitFlags)
RETRAIN = "retrain_"  # begins the names of what differs in later rounds


def load_or_fit_classifier(config: SamplesConfig, folder: RunFolder, ds: Dataset) -> JobContext:
    """Load a trained classifier; on embedded data without weights, fit a small one first.

    Raises:
        ValueError: for other data without weights: a classifier that nobody has trained.
    """
    name, weights = config.classifier.model, config.classifier.weights
    to_fit = weights is None and ":" not in (name or "")
    if to_fit and config.source.data not in EMBEDDED:
        raise ValueError(
            f"{f'--model {name}' if name else 'the default model'} comes untrained; give --weights "
            "FILE (such as a rounds run's checkpoints/round-003.safetensors), or a factory that "
            "loads its own"
        )
    context = load_job_classifier(config, folder, ds)
    if to_fit:
        log.info("no --weights: fitting a classifier first")
        flags = default_fit_flags(config.source.data, smoke=config.run.smoke)
        file = folder.checkpoints / "classifier.safetensors"
        fit_or_load(context, file, load_split(config, "train", folder), flags=flags, number=0)
    return context


def default_fit_flags(data: str, *, smoke: bool) -> FitFlags:
    """Return how a job fits a classifier of some data where it was not asked how."""
    named = {"data": data, "model": None, "norm": None, "eps": None}
    presets = data_preset(named) | (smoke_preset("rounds", data) if smoke else {})
    return FitFlags(**{f.name: presets[f.name] for f in fields(FitFlags) if f.name in presets})


def fit_or_load(
    context: JobContext,
    file: Path,
    train: Dataset | None,
    *,
    flags: FitFlags,
    number: int,
    who: str = "",
) -> Sequence[Record]:
    """Fit the classifier from its present weights, or load the fitted one from `file`.

    After each epoch the state goes to one running checkpoint, from which a killed run goes on.

    Args:
        context: the job's classifier.
        file: where the fitted weights are kept.
        train: the samples; None keeps the classifier as it is.
        flags: how to fit.
        number: the round; 0 takes the options of the first fit.
        who: what is fitted, where it is not the job's one classifier.

    Returns:
        A record of each epoch; none where nothing was fitted.
    """
    running = file.with_name(f"{who}-running.safetensors" if who else "running.safetensors")
    if not is_present(file):
        history: Sequence[Record] = []
        if train is not None:
            history = _fit(context, running, train, flags, number, who)
        save_item(file, context.model.state_dict(), {"round": number, "history": history})
    running.unlink(missing_ok=True)
    note = load_weights(context.model, file)
    history = note["history"]
    _note_epochs(context, history, number, who)
    return history


def load_weights(model: nn.Module, file: Path) -> Any:
    """Give the classifier the weights of a finished checkpoint; return the note with them."""
    tensors, note = load_item(file)
    model.load_state_dict(tensors)
    model.eval()
    return note


def _note_epochs(context: JobContext, history: Sequence[Record], number: int, who: str) -> None:
    """Note the losses of all epochs so far, those that are not noted yet."""
    tag, name = (f"fit {who}", who) if who else ("fit", f"round-{number:03}")
    for epoch, record in enumerate(history, 1):
        context.folder.metrics.add(
            f"{name}/fit/epoch-{epoch:03}",
            step=number * 1000 + epoch,  # rounds stand apart on the time axis
            values={f"{tag}/{key}": record[key] for key in ("loss", "accuracy", "lr")},
        )


def _fit(
    context: JobContext, running: Path, train: Dataset, flags: FitFlags, number: int, who: str
) -> list[Record]:
    """Fit, from the running checkpoint when there is one of this round.

    Returns:
        A record of each epoch, without how long it took.
    """
    options = fit_options(flags, first=number == 0, batch_size=context.batch_size)
    tensors, kept = load_item(running) if is_present(running) else ({}, {})
    ours = kept.get("round") == number
    state = FitState(tensors, kept["epoch"], kept["history"]) if ours else None
    done = state.epoch if state else 0
    stage = f"fit the {who}" if who else f"round {number}: fit"
    with Progress(context.folder, stage, total=options.epochs, done=done) as bar:

        def keep(now: FitState) -> None:
            context.folder.check_held()
            _note_epochs(context, now.history, number, who)
            note = {"round": number, "epoch": now.epoch, "history": now.history}
            save_item(running, now.tensors, note)
            bar.step()

        result = fit_classifier(
            context.model,
            train,
            options,
            seed=derive_seed(context.seed, "fit", number),
            augment=build_augmentation(flags.augmentation, train),
            device=context.device,
            state=state,
            on_epoch=keep,
        )
    return [{k: v for k, v in record.items() if k != "seconds"} for record in result.history]


def with_budget(flags: F, data: str, *, norm: Norm, eps: float) -> F:
    """Return flags that name the norm and the radius that their method perturbs in.

    Args:
        flags: how to fit.
        data: what they fit, by which a radius in another norm follows.
        norm: the job's.
        eps: the job's radius.
    """
    train_norm = flags.train_norm or norm
    usual = eps if train_norm == norm else budget(data, train_norm)
    return replace(flags, train_norm=train_norm, train_eps=flags.train_eps or usual)


def check_inner_problem(flags: FitFlags, model: nn.Module) -> None:
    """Refuse a method that perturbs along gradients behind a defence that has none.

    Raises:
        ValueError: naming both.
    """
    hiding = [each for each in getattr(model, "defences", ()) if each.masks_gradient]
    if hiding and flags.method != "standard":
        raise ValueError(
            f"--method {flags.method} perturbs along gradients, and {hiding[0]} has none; give "
            "--method standard, or the job rounds, whose attacks look behind defences"
        )


def fit_options(flags: FitFlags, *, first: bool, batch_size: int) -> FitOptions:
    """Return the options of the first fit or of a retraining."""
    options = asdict(flags)
    for name in [name for name in options if name.startswith(RETRAIN)]:
        value = options.pop(name)
        if not first:
            options[name.removeprefix(RETRAIN)] = value
    del options["augmentation"]
    if flags.method == "standard":  # it perturbs nothing
        del options["train_norm"], options["train_eps"]
    return FitOptions(batch_size=batch_size, **options)
