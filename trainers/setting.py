"""What the jobs share before their work begins: samples, device, classifier."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn

from attacks import RefusedInput
from attacks.randomness import derive_seed
from augment import load_dataset
from trainers.models.load import load_classifier
from trainers.run.config import SamplesConfig
from trainers.run.folder import RunFolder
from trainers.run.session import choose_device, choose_threads

if TYPE_CHECKING:
    from collections.abc import Mapping

    from augment import Dataset

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Setting:
    """A job's classifier and where it works."""

    config: SamplesConfig
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


def load_split(config: SamplesConfig, split: Literal["train", "val", "test"]) -> Dataset:
    """Load the samples of a split, as many as the options say."""
    source = config.source
    ds = load_dataset(
        source.data,
        split,
        size=source.size,
        channels=source.channels,
        classes=source.classes,
        samples=source.train_samples if split == "train" else source.test_samples,
        seed=config.run.seed,
        download=source.download,
        frames=source.frames,
        stride=source.stride,
        clips=source.clips,
    )
    choose_threads(config.run.threads, torch.Size(ds.shape).numel())
    log.info("%s: %d %s samples of %s", ds.name, len(ds), split, "x".join(map(str, ds.shape)))
    return ds


def build(config: SamplesConfig, folder: RunFolder, ds: Dataset) -> Setting:
    """Load the classifier and check that it fits the samples.

    Raises:
        RefusedInput: when it does not.
    """
    device = choose_device(config.run.device)
    flags = config.classifier
    classes = flags.num_classes or ds.num_classes or None
    if classes == 1:
        raise RefusedInput(
            f"{ds.name} has one class ({ds.classes[0]}), and a classifier tells two or more apart; "
            "add the others (a folder each), or give --classes or --num-classes"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.run.seed, "weights"))
        model = load_classifier(
            flags.model or ("c3d-small" if ds.is_video else "smallcnn"),
            num_classes=classes,
            weights=flags.weights,
            mean=flags.mean or None,
            std=flags.std or None,
            in_channels=ds.shape[0],
            image_size=ds.shape[1:],
            binary=flags.binary,
            device=device,
        )
    return Setting(config, folder, model, device)


def check_kind(attacks: Mapping[str, object], ds: Dataset) -> None:
    """Refuse attacks on videos, by name, where the samples are images.

    Raises:
        ValueError: naming the first of them.
    """
    for name, attack in attacks.items():
        if getattr(attack, "needs_videos", False) and not ds.is_video:
            raise ValueError(
                f"the attack {name} is for videos and {ds.name} holds images; take another attack, "
                "or --data moving-digits or videofolder:DIR"
            )


def check_alike(train: Dataset, test: Dataset) -> None:
    """Refuse training and test samples of different shapes."""
    if train.shape == test.shape:
        return
    (channels, *_, height, width), other = train.shape, test.shape
    if channels != other[0]:
        advice = "--channels 3 to bring both to RGB"
    elif (height, width) != other[-2:]:
        advice = "--size N to bring both to N x N"
    else:
        advice = "--frames N to take N frames of each"
    raise RefusedInput(
        f"training samples are {train.shape} and test samples {test.shape}; give {advice}"
    )


def check_labelled(ds: Dataset) -> None:
    """Refuse samples without labels where labels are needed."""
    if len(ds) and int(ds.labels.min()) < 0:
        raise RefusedInput(
            f"{ds.name} has no labels; put the samples into one folder a class, "
            "or use the job attack, which takes the classifier's own answers"
        )
