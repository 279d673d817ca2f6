"""What the jobs share before their work begins: samples, device, classifier."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from attacks import RefusedInput
from attacks.randomness import derive_seed
from augment import load_dataset
from trainers.classifier import FitOptions, FitState, fit_classifier
from trainers.models.load import load_classifier
from trainers.models.probe import probe_classifier
from trainers.run.checkpoint import load_tensors, save_tensors
from trainers.run.config import AttackConfig, Config, EvaluateConfig, FitFlags
from trainers.run.folder import RunFolder
from trainers.run.presets import SMOKE
from trainers.run.progress import Progress
from trainers.run.session import choose_device, choose_threads

if TYPE_CHECKING:
    from augment import ClassicAugmentation, Dataset

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Setting:
    """A job's classifier and where it works."""

    config: Config
    folder: RunFolder
    model: nn.Module
    device: torch.device

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self.config.run.seed

    @property
    def batch_size(self) -> int:
        """Samples a step."""
        return self.config.source.batch_size


def load_split(config: Config, split: str) -> Dataset:
    """Load the samples of a split, as many as the options say; files left out are named."""
    source = config.source
    ds = load_dataset(
        source.data,
        split,
        size=source.size,
        classes=source.classes,
        samples=source.train_samples if split == "train" else source.test_samples,
        seed=config.run.seed,
        download=source.download,
    )
    for file in ds.skipped:
        log.warning("left out: %s", file)
    choose_threads(config.run.threads, torch.Size(ds.shape).numel())
    log.info("%s: %d %s samples of %s", ds.name, len(ds), split, "x".join(map(str, ds.shape)))
    return ds


def build(config: Config, folder: RunFolder, ds: Dataset) -> Setting:
    """Load the classifier and check that it fits the samples.

    Raises:
        RefusedInput: when it does not.
    """
    device = choose_device(config.run.device)
    flags = config.classifier
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.run.seed, "weights"))
        model = load_classifier(
            flags.model,
            num_classes=flags.num_classes or ds.num_classes or None,
            weights=flags.weights,
            mean=flags.mean or None,
            std=flags.std or None,
            in_channels=ds.shape[0],
            image_size=ds.shape[1:],
            device=device,
        )
    for warning in probe_classifier(model, ds.shape, flags.num_classes or ds.num_classes or None):
        log.warning("%s", warning)
    return Setting(config, folder, model, device)


def trained(config: AttackConfig | EvaluateConfig, folder: RunFolder, ds: Dataset) -> Setting:
    """Load a trained classifier; on the embedded digits without weights, fit a small one first."""
    setting = build(config, folder, ds)
    if config.classifier.weights is None and ":" not in config.classifier.model:
        log.info("no --weights: fitting a classifier first")
        flags = FitFlags(epochs=SMOKE["rounds"]["epochs"]) if config.run.smoke else FitFlags()
        file = folder.checkpoints / "classifier.safetensors"
        fitted(setting, file, load_split(config, "train"), flags=flags, number=0)
    return setting


def check_labelled(ds: Dataset) -> None:
    """Refuse samples without labels where labels are needed."""
    if len(ds) and int(ds.labels.min()) < 0:
        raise RefusedInput(
            f"{ds.name} has no labels; put the images into one folder a class, "
            "or use the job attack, which takes the classifier's own answers"
        )


def fitted(
    setting: Setting, file: Path, train: Dataset | None, *, flags: FitFlags, number: int
) -> None:
    """Fit the classifier from its present weights, or load the fitted one from `file`.

    After each epoch the state goes to one running checkpoint, from which a killed run goes on.

    Args:
        setting: the job's classifier.
        file: where the fitted weights are kept.
        train: the samples; None keeps the classifier as it is.
        flags: how to fit.
        number: the round; 0 takes the options of the first fit.
    """
    running = file.with_name("running.safetensors")
    if not file.exists():
        if train is not None:
            _fit(setting, running, train, flags=flags, number=number)
        save_tensors(file, setting.model.state_dict(), {"round": number})
        running.unlink(missing_ok=True)
    load_weights(setting.model, file)


def load_weights(model: nn.Module, file: Path) -> None:
    """Give the classifier the weights of a finished checkpoint."""
    model.load_state_dict(load_tensors(file)[0])
    model.eval()


def _fit(setting: Setting, running: Path, train: Dataset, *, flags: FitFlags, number: int) -> None:
    """Fit, from the running checkpoint when there is one of this round."""
    options = fit_options(flags, first=number == 0, batch_size=setting.batch_size)
    state = read_state(running, number)
    done = state.epoch if state else 0
    with Progress(setting.folder, f"round {number}: fit", total=options.epochs, done=done) as bar:

        def keep(now: FitState) -> None:
            last = now.history[-1]
            values = {f"fit/{key}": last[key] for key in ("loss", "accuracy", "lr")}
            setting.folder.metrics.add(
                f"round-{number:03}/fit/epoch-{now.epoch:03}",
                step=number * 1000 + now.epoch,  # rounds stand apart on the time axis
                values=values,
            )
            note = {"round": number, "epoch": now.epoch, "history": now.history}
            save_tensors(running, now.tensors, note)
            bar.step()

        fit_classifier(
            setting.model,
            train,
            options,
            seed=derive_seed(setting.seed, "fit", number),
            augment=augmentation(flags, train),
            device=setting.device,
            state=state,
            on_epoch=keep,
        )


def augmentation(flags: FitFlags, train: Dataset) -> ClassicAugmentation | None:
    """Return the augmentation that --augmentation asks for."""
    if flags.augmentation == "none":
        return None
    from augment import classic_for  # loads kornia, which takes a second

    return classic_for(train.name, train.shape)


def read_state(running: Path, number: int) -> FitState | None:
    """Return the state to go on from, if the running checkpoint is of this round."""
    if not running.exists():
        return None
    tensors, note = load_tensors(running)
    return FitState(tensors, note["epoch"], note["history"]) if note["round"] == number else None


def fit_options(flags: FitFlags, *, first: bool, batch_size: int) -> FitOptions:
    """Return the options of the first fit or of a retraining."""
    options = asdict(flags)
    for name in ("retrain_epochs", "retrain_lr"):
        value = options.pop(name)
        if not first:
            options[name.removeprefix("retrain_")] = value
    del options["augmentation"]
    return FitOptions(batch_size=batch_size, **options)
