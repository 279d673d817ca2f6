"""The options of the job `representation`; see `config`."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from tyro.conf import arg

from trainers.run.cli.config import SamplesConfig
from trainers.run.cli.option import option


@dataclass(frozen=True)
class RepresentationFlags:
    """What is led to what, by which attacks, and where it is looked at."""

    pairs: int = option(20, at_least=1, at_most=10**6)
    """Pairs of a source and a guide of another class."""
    split: Literal["train", "val", "test"] = "test"
    """Samples to draw them from, those first that the classifier has right."""
    attacks: tuple[str, ...] = (
        "feature",
        "label-lbfgs",
        "label-fgsm",
        "feature-fgsm",
        "feature-linear",
    )
    """Attacks: NAME or NAME:OPTION=VALUE,... feature is made for each of --layers and --eps, the
    others once: in the deepest layer, with the first eps. Attacks without guides aim at the
    guide's class."""
    layers: tuple[str, ...] = ()
    """Layers whose representations are led and compared, each by itself, as named_modules() has
    them. None: the last but one that is called."""
    eps: tuple[float, ...] = option((), above=0, at_most=10**9)
    """Budgets (linf). None: 0.1 on digits, 8/255 on images, 2/255 on videos."""
    references: int = option(1000, at_least=1, at_most=10**6)
    """Training samples, at even distances, that say what is typical of a class; fewer where a
    layer is large. Of the split above where the data has no other."""
    random_weights: bool = True
    """Lead them in a copy with random orthonormal weights, too: is it training or architecture?"""
    invert: int = option(2, at_least=0, at_most=10)
    """Pairs of which samples are rebuilt from their representations in each layer. 0: none."""
    invert_steps: int = option(400, at_least=1, at_most=10**5)
    """Steps of each such search."""


@dataclass(frozen=True)
class RepresentationConfig(SamplesConfig):
    """Lead samples to the representations of others, and tell how like them they get."""

    representing: Annotated[RepresentationFlags, arg(name="representation")] = field(
        default_factory=RepresentationFlags
    )
