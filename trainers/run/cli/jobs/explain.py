"""The options of the job `explain`; see `config`."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from tyro.conf import arg

from trainers.run.cli.config import SamplesConfig
from trainers.run.cli.option import option


@dataclass(frozen=True)
class ExplainFlags:
    """What is explained, and how."""

    method: tuple[str, ...] = (
        "saliency",
        "smooth-grad",
        "integrated-gradients",
        "guided-backprop",
        "grad-cam",
        "occlusion",
    )
    """Methods: NAME or NAME:OPTION=VALUE,... also deconvolution, rise, meaningful-perturbation and
    difference-map, of which the last three take longer, and captum:NAME with a class of
    captum.attr (the extra explain). all: every one of ours. difference-map:instances=8 learns
    eight generators of each sample, and shows how far their maps spread."""
    samples: int = option(4, at_least=1, at_most=10**6)
    """Samples to explain, at even distances."""
    explain_class: str | None = None
    """Class to explain, by number or name. None: of each sample the one that the classifier
    predicts."""
    split: Literal["train", "val", "test"] = "test"
    """Samples to choose from."""
    score_steps: int = option(20, at_least=1, at_most=10**4)
    """Steps in which pixels are deleted and inserted for the scores."""
    masks: str | None = None
    """Folder with a PNG for each sample, named after it, whose pixels are not 0 on the object:
    scores by where it is. None: no such scores."""
    checks: bool = False
    """Also draw the maps for another seed and for random weights, which takes three times as long:
    a method whose maps stay for the latter is flagged."""


@dataclass(frozen=True)
class ExplainConfig(SamplesConfig):
    """Show what a classifier looked at, by several methods, and score the maps."""

    explaining: Annotated[ExplainFlags, arg(name="explanation")] = field(
        default_factory=ExplainFlags
    )
