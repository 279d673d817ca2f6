"""The options of the review within the rounds; see `config`."""

from dataclasses import dataclass
from typing import Literal

from trainers.run.cli.option import option


@dataclass(frozen=True)
class ReviewingFlags:
    """Who decides which perturbed samples still show their class, and are fitted."""

    review: Literal["off", "optional", "required"] = "off"
    """off: all are fitted; optional: but those that were rejected, or left unsure, by then;
    required: stop after each attack until all are decided (the command review), and fit those that
    were accepted."""
    auto_review: bool = False
    """Let a program decide what is clear: it accepts what --reference-model calls by its label and
    is like its original by --clear-ssim, and rejects what is not like it by --lost-ssim, or is
    called another class for sure. A person's decision stands above it."""
    reference_model: str | None = None
    """Classifier that it asks, as for --model; on digits a robust one of ours. None: the default
    --model."""
    reference_weights: str | None = None
    """Weights of that classifier. None: those that it comes with."""
    clear_ssim: float = option(0.9, at_least=0, at_most=1)
    """Structural similarity to the original from which a sample may be accepted without a look."""
    lost_ssim: float = option(0.3, at_least=-1, at_most=1)
    """Structural similarity below which it is rejected."""
    sure: float = option(0.9, at_least=0, at_most=1)
    """Probability from which the reference's answer of another class is for sure."""
