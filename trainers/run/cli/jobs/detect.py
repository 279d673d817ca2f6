"""The options of the job `detect`; see `config`."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from tyro.conf import arg

from trainers.run.cli.config import SamplesConfig
from trainers.run.cli.option import option


@dataclass(frozen=True)
class DetectFlags:
    """The detector, and what it is measured with."""

    attacks: tuple[str, ...] = ("pgd",)
    """Attacks whose samples it is fitted to: NAME or NAME:OPTION=VALUE,..."""
    unseen_attacks: tuple[str, ...] = ("fgsm", "apgd:steps=50", "deepfool")
    """Attacks that it is measured with besides, which it has not seen."""
    evasion: str = "pgd:steps=50,loss=margin"
    """Attack that knows the detector, aimed at the likeliest wrong classes in turn."""
    evasion_classes: int = option(3, at_least=1, at_most=10**6)
    """How many of these."""
    norm: Literal["linf", "l2", "l1"] = "linf"
    """Norm of the budget."""
    eps: float = option(0.1, above=0, at_most=10**9)
    """Budget of attacks that have one: 0.1 (l2 1, l1 4) on digits, 8/255 (0.5, 12) on
    images, 2/255 (1.5, 50) on videos."""
    layer: str | None = None
    """Layer of the model whose outputs it looks at. None: the last ReLU."""
    levels: int = option(4, at_least=2, at_most=256)
    """Levels that each of them is quantised to."""
    cost: float = option(1.0, above=0, at_most=10**9)
    """Cost of errors of the support vector machine (its C)."""
    fit_samples: int = option(500, at_least=2, at_most=10**6)
    """Training samples that it is fitted to, clean and attacked."""
    false_alarms: float = option(0.05, above=0, below=1)
    """Share of clean validation samples above whose score a sample is refused."""
    detector: str | None = None
    """Detector that this job has fitted, to measure. None: fit one."""


@dataclass(frozen=True)
class DetectConfig(SamplesConfig):
    """Fit a detector of attacked samples; measure it, also by attacks that know it."""

    detection: Annotated[DetectFlags, arg(name="detector")] = field(default_factory=DetectFlags)
