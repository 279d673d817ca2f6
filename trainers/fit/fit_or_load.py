"""Fit a job's classifier so that a killed run goes on after its last epoch."""

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from attacks import PGD
from attacks.attack import Norm
from attacks.common.randomness import derive_seed
from augment import Dataset
from trainers.defences.adaptive import adaptive_options
from trainers.fit.augmentation import build_augmentation
from trainers.fit.classifier import FitResult, fit_classifier
from trainers.fit.options import FitOptions
from trainers.fit.state import FitState, Record
from trainers.fit.validation import Validation, samples_to_watch
from trainers.models.factory import needs_weights
from trainers.run.cli.config import FitFlags, SamplesConfig
from trainers.run.cli.methods import USERS
from trainers.run.cli.presets import EMBEDDED, budget, data_preset, smoke_preset
from trainers.run.folder.atomic import is_present
from trainers.run.folder.checkpoint import load_item, save_item
from trainers.run.folder.folder import RunFolder
from trainers.run.job_context import JobContext, load_job_classifier, load_split
from trainers.run.show.progress import Progress

log = logging.getLogger(__name__)
F = TypeVar("F", bound=FitFlags)
PROBE_STEPS = 10  # of PGD after an epoch
# Of an epoch's record, in TensorBoard.
SHOWN = ("loss", "accuracy", "lr", "robust_accuracy", "seconds")
EPOCH = re.compile(r"round-(\d+)/fit/epoch-\d+")  # its name in metrics.jsonl


def load_or_fit_classifier(
    config: SamplesConfig,
    folder: RunFolder,
    ds: Dataset,
    *,
    check: Callable[[JobContext], object] = lambda _: None,
) -> JobContext:
    """Load a trained classifier; on embedded data without weights, fit a small one first.

    Args:
        config: the job's options.
        folder: its run folder.
        ds: the samples.
        check: refuses what the classifier cannot do, before it is fitted.

    Raises:
        ValueError: for other data without weights: a classifier that nobody has trained.
    """
    name, weights = config.classifier.model, config.classifier.weights
    to_fit = weights is None and needs_weights(name)
    if to_fit and config.source.data not in EMBEDDED:
        raise ValueError(
            f"{f'--model {name}' if name else 'the default model'} comes untrained; give --weights "
            "FILE (such as a rounds run's checkpoints/round-003.safetensors), or a model that "
            "brings its own, such as zoo:NAME, resnet50@DEFAULT or a factory"
        )
    context = load_job_classifier(config, folder, ds)
    check(context)
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
    val: Dataset | None = None,
    static: Sequence[nn.Module] = (),
    who: str = "",
) -> FitResult:
    """Fit the classifier from its present weights, or load the fitted one from `file`.

    After each epoch the state goes to one running checkpoint, from which a killed run goes on.

    Args:
        context: the job's classifier.
        file: where the fitted weights are kept.
        train: the samples; None keeps the classifier as it is.
        flags: how to fit.
        number: of the fit, from which its seed follows: the round.
        val: samples to watch the epochs of a robust fit on, see `Validation`; None for none.
        static: classifiers of other fits, see `fit_classifier`.
        who: what is fitted, where it is not the job's one classifier.

    Returns:
        A record of each epoch, none where nothing was fitted, and which one's weights are kept.
    """
    running = file.with_name(f"{who}-running.safetensors" if who else "running.safetensors")
    if not is_present(file):
        result = FitResult([], -1)
        if train is not None:
            result = _fit(context, running, train, flags, number, who, val, static)
        save_item(file, context.model.state_dict(), {"round": number, **vars(result)})
    running.unlink(missing_ok=True)
    note = load_weights(context.model, file)
    result = FitResult(note["history"], note["kept"], note["warning"])
    _note_epochs(context, result.history, number, who)
    if result.warning:
        log.warning("%s", result.warning)
    return result


def load_weights(model: nn.Module, file: Path) -> Any:
    """Give the classifier the weights of a finished checkpoint; return the note with them."""
    tensors, note = load_item(file)
    model.load_state_dict(tensors)
    model.eval()
    return note


def _note_epochs(
    context: JobContext, history: Sequence[Record], number: int, who: str, *, samples: int = 0
) -> None:
    """Note the losses of all epochs so far, those that are not noted yet.

    The epochs of several rounds are counted on, and the round stands beside them. How fast an epoch
    was, in samples, only the process knows that fitted it.
    """
    tag, name = (f"fit {who}", who) if who else ("fit", f"round-{number:03}")
    metrics = context.folder.metrics
    before = sum(int(found[1]) < number for found in map(EPOCH.fullmatch, metrics.lines) if found)
    rounds = {f"{tag}/round": number} if context.folder.job == "rounds" else {}
    for epoch, record in enumerate(history, 1):
        shown = {f"{tag}/{key}": record[key] for key in SHOWN if key in record}
        if "seconds" in record:
            shown[f"{tag}/samples_per_second"] = samples / record["seconds"]
        metrics.add(f"{name}/fit/epoch-{epoch:03}", step=before + epoch, values=shown | rounds)


def _fit(
    context: JobContext,
    running: Path,
    train: Dataset,
    flags: FitFlags,
    number: int,
    who: str,
    val: Dataset | None,
    static: Sequence[nn.Module],
) -> FitResult:
    """Fit, from the running checkpoint when there is one of this round.

    Returns:
        What it was like, without how long the epochs took.
    """
    options = fit_options(flags, batch_size=context.batch_size)
    tensors, kept = load_item(running) if is_present(running) else ({}, {})
    ours = kept.get("round") == number
    state = FitState(tensors, kept["epoch"], kept["history"]) if ours else None
    done = state.epoch if state else 0
    stage = f"fit the {who}" if who else f"round {number}: fit"
    with Progress(context.folder, stage, total=options.epochs, done=done) as bar:

        def keep(now: FitState) -> None:
            context.folder.check_held()
            _note_epochs(context, now.history, number, who, samples=len(train))
            note = {"round": number, "epoch": now.epoch, "history": now.history}
            save_item(running, now.tensors, note)
            bar.step()

        result = fit_classifier(
            context.model,
            train,
            options,
            seed=derive_seed(context.seed, "fit", number),
            augment=build_augmentation(flags.augmentation, train),
            static=static,
            validation=watched(context, val, flags, fitted=len(train)),
            device=context.device,
            state=state,
            on_epoch=keep,
            progress=bar.within,
        )
    history = [{k: v for k, v in record.items() if k != "seconds"} for record in result.history]
    return replace(result, history=history)


def watched(
    context: JobContext, val: Dataset | None, flags: FitFlags, *, fitted: int
) -> Validation | None:
    """Return what the epochs of a robust fit are watched with: PGD in the budget of the fit.

    Args:
        context: the job's classifier.
        val: validation samples.
        flags: how it is fitted.
        fitted: samples of an epoch.
    """
    if val is None or flags.method == "standard" or flags.train_norm is None:
        return None
    eps = flags.train_eps or budget(context.config.source.data, flags.train_norm)
    knowing = adaptive_options(getattr(context.model, "defences", ()))
    attack = PGD(norm=flags.train_norm, eps=eps, steps=PROBE_STEPS, early_stop=True, **knowing)
    x, y = samples_to_watch(val, fitted=fitted, device=context.device)
    return Validation(x, y, attack, derive_seed(context.seed, "validation"))


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


def fit_options(flags: FitFlags, *, batch_size: int) -> FitOptions:
    """Return the options of a fit, without those that its method has no use for."""
    known = {field.name for field in fields(FitOptions)}
    options = {name: value for name, value in vars(flags).items() if name in known}
    for name, methods in USERS.items():
        if flags.method not in methods:
            del options[name]
    return FitOptions(batch_size=batch_size, **options)
