"""The options of `evaluate`; see `config` for how they become flags, help and TOML."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from tyro.conf import arg

from trainers.run.cli.config import STRONG, SamplesConfig
from trainers.run.cli.option import option
from trainers.run.cli.specs.corruptions import CorruptionName, Severity


@dataclass(frozen=True)
class EvaluateFlags:
    """What to measure."""

    attacks: tuple[str, ...] = STRONG
    """Attacks to measure with: NAME or NAME:OPTION=VALUE,..."""
    norm: Literal["linf", "l2", "l1"] = "linf"
    """Norm of the budget."""
    eps: float = option(0.1, above=0, at_most=10**9)
    """Budget of attacks that have one: 0.1 (l2 1, l1 4) on digits, 8/255 (0.5, 12) on
    images, 2/255 (1.5, 50) on videos."""
    curve: tuple[str, ...] = ("fmn:steps=50",)
    """Attacks that look for the smallest change, for the curve of robust accuracy against eps,
    beside those of --attacks. none: no curve but theirs."""
    curve_samples: int = option(500, at_least=1, at_most=10**9)
    """Test samples of the curve."""
    curve_checks: int = option(3, at_least=0, at_most=100)
    """Radii at which APGD checks the curve."""
    masking_samples: int = option(64, at_least=0, at_most=10**9)
    """Test samples on which signs of gradient masking are looked for. 0: none."""
    transfer: tuple[str, ...] = ()
    """Other classifiers, for how samples made on each fool the others: NAME=WEIGHTS, or
    NAME=WEIGHTS,model=MODEL where it is not --model."""
    transfer_attack: str = "pgd"
    """Attack that makes the samples of the transfer: NAME or NAME:OPTION=VALUE,..."""
    transfer_samples: int = option(200, at_least=1, at_most=10**9)
    """Test samples of the transfer."""
    corruptions: tuple[CorruptionName, ...] = ("none",)
    """Common corruptions to measure with, without an attack. all: the 15."""
    severities: tuple[Severity, ...] = (1, 2, 3, 4, 5)
    """Severities of these."""


@dataclass(frozen=True)
class EvaluateConfig(SamplesConfig):
    """Measure a classifier: clean accuracy, and accuracy under each attack."""

    measure: Annotated[EvaluateFlags, arg(name="measurement")] = field(
        default_factory=EvaluateFlags
    )
