"""The options of the job `network`; see `config`."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from tyro.conf import arg

from trainers.run.cli.config import SamplesConfig
from trainers.run.cli.option import option

Shows = Literal[
    "filters", "activations", "patches", "neighbours", "embedding", "classes", "dissection"
]


@dataclass(frozen=True)
class NetworkFlags:
    """What is shown of the network, and of which layer and units."""

    show: tuple[Shows, ...] = ()
    """filters: of the first convolution; activations: of the units of a layer for some samples;
    patches: those of all samples that activate a unit most; neighbours: the samples that a layer
    holds to be most alike; embedding: all of them in the plane (t-SNE), and in TensorBoard's
    projector; classes: an image that raises the logit of a class; dissection: the units that
    detect the concepts of --masks. None named: all, dissection only with --masks."""
    layer: str | None = None
    """Layer to look at. None: for neighbours and embedding the last hidden one, else the last with
    more than one position in space."""
    units: int = option(16, at_least=1, at_most=10**4)
    """Units (channels) of a layer that are shown, the most active first."""
    unit_numbers: tuple[int, ...] = option((), at_least=0, at_most=10**9)
    """Units to show instead, by number, from 0."""
    samples: int = option(4, at_least=1, at_most=10**4)
    """Samples whose activations and neighbours are shown, at even distances."""
    top: int = option(6, at_least=1, at_most=1000)
    """Patches of a unit, and neighbours of a sample."""
    metric: Literal["cosine", "l2"] = "cosine"
    """Distance of neighbours: 1 - cosine, or Euclidean."""
    embedding_samples: int = option(2000, at_least=4, at_most=10**6)
    """Samples of the embedding at most, at even distances."""
    class_images: tuple[str, ...] = ()
    """Classes to make an image of, by number or name. None named: up to ten that the samples
    have."""
    class_steps: int = option(200, at_least=1, at_most=10**6)
    """Gradient steps to each such image."""
    masks: str | None = None
    """Folder of images with masks, for the dissection: images/NAME.jpg (or .png, ...) and
    masks/CONCEPT/NAME.png of the same size, where the concept is in all pixels that are not 0. A
    concept that is not in an image needs no mask of it."""
    split: Literal["train", "val", "test"] = "test"
    """Samples to look at."""


@dataclass(frozen=True)
class NetworkJobConfig(SamplesConfig):
    """Show what a classifier's layers respond to."""

    network: Annotated[NetworkFlags, arg(name="network")] = field(default_factory=NetworkFlags)
