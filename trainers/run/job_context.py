"""Load samples and classifier for a job, and refuse those that do not fit each other."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from attacks import Attack, RefusedInput
from attacks.common.randomness import derive_seed
from attacks.feature.guided_attack import GuidedAttack
from attacks.universal.fitting import Fittable
from augment import Dataset, load_dataset
from augment.splits import Split
from trainers.defences.defended_classifier import DefendedClassifier
from trainers.models.load import load_classifier
from trainers.models.probe import probe_classifier
from trainers.run.cli.config import SamplesConfig
from trainers.run.cli.presets import EMBEDDED
from trainers.run.cli.specs.attacks import build_defences
from trainers.run.cli.toml import replace_options
from trainers.run.folder.folder import RunFolder
from trainers.run.folder.input_digests import ChangedInput
from trainers.run.session import choose_device, choose_threads

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobContext:
    """A job's options, run folder, classifier and device."""

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


def load_split(
    config: SamplesConfig,
    split: Split,
    folder: RunFolder,
    *,
    count: int | None = None,
) -> Dataset:
    """Load the samples of a split, as many as the options say, or `count`.

    Raises:
        RefusedInput: when they cannot be read, or are others than the run was begun with.
    """
    ds = read_split(config, split, count=count)
    choose_threads(config.run.threads, torch.Size(ds.shape).numel())
    if config.source.data not in EMBEDDED:
        folder.inputs.check(input_name(config, split), ds.digest())
    log.info("%s: %d %s samples of %s", ds.name, len(ds), split, "x".join(map(str, ds.shape)))
    return ds


def read_split(config: SamplesConfig, split: Split, *, count: int | None = None) -> Dataset:
    """Read the samples of a split, as many as the options say, or `count`, outside any run folder.

    Raises:
        RefusedInput: when they cannot be read.
    """
    source = config.source
    return load_dataset(
        source.data,
        split,
        size=source.size,
        channels=source.channels,
        classes=source.classes,
        samples=count or (source.train_samples if split == "train" else source.test_samples),
        seed=config.run.seed,
        download=source.download,
        frames=source.frames,
        stride=source.stride,
        clips=source.clips,
    )


def input_name(config: SamplesConfig, split: Split) -> str:
    """Return the name by which a run knows the digest of a split's samples."""
    return f"--data {config.source.data} ({split} samples)"


def load_job_classifier(
    config: SamplesConfig, folder: RunFolder, ds: Dataset, *, flag: str = "--model"
) -> JobContext:
    """Load the classifier and check that it fits the samples.

    Args:
        config: the job's options.
        folder: its run folder.
        ds: the samples.
        flag: that names the classifier.

    Raises:
        RefusedInput: when it does not, or is another than the run was begun with.
    """
    device = choose_device(config.run.device)
    flags = config.classifier
    defences = build_defences(flags.defence)
    classes = flags.num_classes or ds.num_classes or None
    if classes == 1:
        raise RefusedInput(
            f"{ds.name} has one class ({ds.classes[0]}), and a classifier tells two or more apart; "
            "add the others (a folder each), or give --classes or --num-classes"
        )
    # Whatever the factory does.
    with torch.random.fork_rng(devices=[]), chdir(Path.cwd()), errors_name(flag):
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
    folder.inputs.check_model(flag, flags.model or "", model, given=flags.weights is not None)
    if defences:
        model = DefendedClassifier(model, defences).eval()
        probe_classifier(model, ds.shape, classes)
    folder.at_work = True  # what the user's code raises from here on is its failure
    return JobContext(config, folder, model, device)


@contextmanager
def errors_name(flag: str) -> Iterator[None]:
    """Let errors say which classifier they are about, where it is not the job's own."""
    try:
        yield
    except (RefusedInput, ValueError) as error:
        if flag != "--model":
            error.args = (f"{flag}: {error}",)
        raise


def load_static(
    config: SamplesConfig, folder: RunFolder, ds: Dataset, files: Sequence[str]
) -> list[nn.Module]:
    """Load further classifiers, WEIGHTS of one like the job's or WEIGHTS,model=MODEL each."""
    found = []
    for text in files:
        weights, _, model = text.partition(",model=")
        chosen = {"weights": weights} | ({"model": model} if model else {})
        own = replace_options(config, chosen)
        found.append(load_job_classifier(own, folder, ds, flag=f"--static {text}").model)
    return found


def check_attacks(
    attacks: Mapping[str, Attack | Fittable], ds: Dataset, *, target: int | None = None
) -> None:
    """Refuse attacks that cannot do what they are to do, before anything is fitted for them.

    Args:
        attacks: the attacks, by name, or the options of fits.
        ds: the samples.
        target: the class to reach; None for any wrong one.

    Raises:
        ValueError: naming the first of them: it is for videos and the samples are images, or it
            refuses the samples' shape or the target.
    """
    for name, attack in attacks.items():
        if getattr(attack, "needs_videos", False) and not ds.is_video:
            raise ValueError(
                f"the attack {name} is for videos and {ds.name} holds images; take another attack, "
                "or --data moving-digits or videofolder:DIR"
            )
        if len(ds):
            rehearse(name, attack, ds, target)


class _Asked(BaseException):
    """An attack has asked the model, so it has no objections; of no kind that it would catch."""


class _Unasked(nn.Module):
    """A classifier that is not there yet."""

    def forward(self, x: Tensor) -> Tensor:
        """End the rehearsal."""
        raise _Asked


def rehearse(name: str, attack: Attack | Fittable, ds: Dataset, target: int | None) -> None:
    """Start an attack or a fit on one sample, up to where it first asks the model.

    Raises:
        ValueError: when it refuses before that.
    """
    x, _ = ds.stack([0])
    y = torch.zeros(1, dtype=torch.int64)
    if getattr(attack, "bpda", None):  # it names layers of the model that is not there
        attack = replace(cast(Any, attack), bpda=None)
    with suppress(_Asked):
        try:
            if isinstance(attack, Fittable):
                attack.fit(_Unasked().eval(), [(x, y)])
            else:
                guide: Any = {"guide": x} if isinstance(attack, GuidedAttack) else {}
                attack(_Unasked().eval(), x, y, target=target, **guide)
        except ValueError as error:
            raise ValueError(f"the attack {name} cannot do this: {error}") from error


def load_splits(
    config: SamplesConfig, folder: RunFolder, attacks: Mapping[str, Attack | Fittable]
) -> tuple[Dataset, Dataset]:
    """Load training and test samples: labelled, alike, and such that the attacks can work on."""
    train, test = load_split(config, "train", folder), load_split(config, "test", folder)
    for ds in (train, test):
        check_labelled(ds)
        check_attacks(attacks, ds)
    check_alike(train, test)
    return train, test


def load_validation(config: SamplesConfig, folder: RunFolder, *, count: int) -> Dataset | None:
    """Load up to `count` validation samples, none of them a training sample; None for none.

    Of few samples a tenth may be none: then the last epoch and the last round are kept.
    """
    if not count:
        return None
    try:
        val = load_split(config, "val", folder, count=count)
    except ChangedInput:
        raise
    except RefusedInput as error:
        log.warning("no validation samples, so the last epoch and round are kept: %s", error)
        return None
    if not len(val):
        return None
    check_labelled(val)
    return val


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
