"""What the parts of the job `network` work with, and what each of them needs."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from attacks.common.activations import Representation, find_layers, last_hidden
from attacks.common.frozen import frozen
from augment import Dataset
from augment.batches import iterate
from augment.datasets.images.images import ImageForm
from augment.datasets.images.masks import MaskedImages, find_masked_images
from explain.gradient.grad_cam import last_spatial
from trainers.evaluate.evaluation import predict
from trainers.evaluate.per_class import class_name
from trainers.evenly_spaced import evenly_spaced
from trainers.fit.fit_or_load import load_or_fit_classifier
from trainers.jobs.attack import class_number
from trainers.run.cli.jobs.network import NetworkFlags, NetworkJobConfig
from trainers.run.folder.folder import RunFolder
from trainers.run.job_context import JobContext, load_split
from trainers.run.show.progress import Progress

Row = dict[str, Any]
MOST_CLASSES = 10  # that images are made of, where none is named


@dataclass(frozen=True)
class Layer:
    """A layer of the classifier.

    Attributes:
        name: its whole name; "" is the model itself.
        shape: of its outputs for one sample, without the sample's dimension.
        spatial: whether these are units at positions, as of samples (C, H, W).
    """

    name: str
    shape: tuple[int, ...]
    spatial: bool

    @property
    def shown(self) -> str:
        """Its name for people."""
        return self.name or "(the model)"


@dataclass(frozen=True)
class NetworkSetup:
    """What the job works with.

    Attributes:
        context: the classifier.
        ds: the samples.
        flags: what to show.
        maps: the layer whose units are shown.
        vectors: the layer by which samples are compared.
        classes: that images are made of.
        masked: images with masks; None where none are given.
    """

    context: JobContext
    ds: Dataset
    flags: NetworkFlags
    maps: Layer
    vectors: Layer
    classes: Sequence[int]
    masked: MaskedImages | None

    @property
    def chosen_rows(self) -> list[int]:
        """Where the samples that are shown stand in the data."""
        return evenly_spaced(len(self.ds), self.flags.samples)

    @property
    def chosen(self) -> Dataset:
        """The samples that are shown."""
        return self.ds.subset(self.chosen_rows)

    def class_name(self, number: int) -> str:
        """Return the name of a class; "" of an unlabelled sample."""
        return "" if number < 0 else class_name(self.ds.classes, number)

    def caption(self, label: int, answer: int, probability: float) -> str:
        """Return the lines below a sample: its class, if known, and what it is taken for."""
        said = f"{self.class_name(answer)}  {probability:.0%}"
        return f"{self.class_name(label)}\n{said}" if label >= 0 else said

    def batches(self, ds: Dataset, stage: str) -> Iterator[list[Tensor]]:
        """Yield a data set in batches [x, y], with a bar."""
        size = self.context.batch_size
        total = math.ceil(len(ds) / size)
        with Progress(self.context.folder, stage, total=total) as bar:
            for x, y, _ in iterate(ds, batch_size=size, device=self.context.device):
                yield [x, y]
                bar.step()

    def shares(self, x: Tensor) -> Tensor:
        """Return the classifier's probabilities (B, K) of samples (B, ...), on the CPU."""
        parts = torch.split(x.to(self.context.device), self.context.batch_size)
        return torch.cat([predict(self.context.model, part).softmax(1).cpu() for part in parts])

    def answers(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the classes that the classifier gives x (B, ...), and their probabilities."""
        values, numbers = self.shares(x).max(1)
        return numbers, values


@dataclass(frozen=True)
class Shown:
    """What a part found, as it is shown.

    Attributes:
        facts: for summary.json.
        pictures: by name.
        tables: rows of CSV files by the name of the file.
    """

    facts: Row
    pictures: Mapping[str, Image.Image] = field(default_factory=dict)
    tables: Mapping[str, Sequence[Row]] = field(default_factory=dict)


def set_up_network(config: NetworkJobConfig, folder: RunFolder) -> NetworkSetup:
    """Load samples and classifier, and find the layers; refuses what cannot be.

    Raises:
        ValueError: for a layer, units or classes that are not there.
        RefusedInput: for samples or masks that cannot be read.
    """
    flags = config.network
    ds = load_split(config, flags.split, folder)
    classes = choose_classes(flags, ds)
    masked = load_masks(config, folder, ds) if flags.masks and not ds.is_video else None

    def look(context: JobContext) -> tuple[Layer, Layer]:
        return choose_layers(context, flags, ds.stack([0])[0].to(context.device))

    context = load_or_fit_classifier(config, folder, ds, check=look)
    vectors, maps = look(context)
    return NetworkSetup(context, ds, flags, maps, vectors, classes, masked)


def choose_layers(context: JobContext, flags: NetworkFlags, x: Tensor) -> tuple[Layer, Layer]:
    """Return the layers of vectors and of units, by a pass of x (1, ...).

    Raises:
        ValueError: for a layer or units that are not there.
    """
    vectors = look_at(context, flags.layer or last_hidden(context.model, x), x)
    maps = vectors if flags.layer else find_maps(context, x) or vectors
    if wrong := [n for n in flags.unit_numbers if n >= maps.shape[0]]:
        raise ValueError(
            f"--unit-numbers names {wrong[0]}, and the layer {maps.shown} has {maps.shape[0]} "
            f"units; allowed: 0 to {maps.shape[0] - 1}"
        )
    return vectors, maps


def choose_classes(flags: NetworkFlags, ds: Dataset) -> list[int]:
    """Return the classes to make images of: those named, or some that the samples have."""
    if flags.class_images:
        named = [class_number(text, ds, flag="--class-images") for text in flags.class_images]
        return [number for number in dict.fromkeys(named) if number is not None]
    there = sorted({*ds.labels[ds.labels >= 0].tolist()}) or [*range(ds.num_classes)]
    return [there[i] for i in evenly_spaced(len(there), MOST_CLASSES)]


def load_masks(config: NetworkJobConfig, folder: RunFolder, ds: Dataset) -> MaskedImages:
    """Find the images with masks, which take the form of the samples."""
    root = Path(str(config.network.masks)).expanduser()
    channels, height, width = ds.shape
    form = ImageForm(channels, height, width)
    masked = find_masked_images(root, form, batch_size=config.source.batch_size)
    folder.inputs.check(f"--masks {config.network.masks}", masked.digest())
    return masked


def find_maps(context: JobContext, x: Tensor) -> Layer | None:
    """Return the last layer with positions in a pass of x (1, ...); None where there is none."""
    try:
        with frozen(context.model):
            name = last_spatial(context.model, x)
    except ValueError:  # a network of linear layers
        return None
    return look_at(context, name, x)


def look_at(context: JobContext, layer: str, x: Tensor) -> Layer:
    """Return what is known of a layer by a pass of x (1, ...).

    Raises:
        ValueError: for one that is not there or not called, or several.
    """
    name, *others = find_layers(context.model, layer)
    if others:
        raise ValueError(f"--layer is {layer}; one layer is looked at: give one name")
    with frozen(context.model), torch.no_grad():
        (output,) = Representation(context.model, [name], x)(x)
    return Layer(name, tuple(output.shape[1:]), output.ndim == x.ndim)
