"""How to train R; standard library only, so that a command line can show it quickly."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

TemporalForm = Literal["matched", "raw"]


@dataclass(frozen=True, kw_only=True)
class ReconstructionOptions:
    """Network, loss and schedule of ``fit_network``.

    Args:
        form: of the network: "unet", or the "paper"'s.
        width: channels of its layers at full resolution.
        depth: how often a "unet" halves the resolution, or "paper" doubles it.
        epochs: passes over all samples at all steps.
        batch_size: coded samples a step.
        lr: peak learning rate of AdamW.
        warmup: share of all steps in which the rate rises linearly; a cosine to 0 follows.
        ema: decay of an exponential moving average of the weights, which replaces them at the
            end; 0 is off.
        bf16: bfloat16 autocast in R's forward passes.
        normalise: count the squared error of each rate in units of the plain decoder's there, so
            that each counts the same; otherwise the lowest rate counts most.
        task: weight of the divergence of the classifier's answer, in nats.
        temporal: weight of the temporal term of videos, in units of the plain decoder's.
        temporal_form: "matched" is the mean absolute difference of the changes from frame to
            frame from the sample's own; "raw" are those changes themselves, as published.
        held_out: share of the samples that the gate is measured on, and R not trained on; of few
            samples more.
        memorise: train and measure on exactly the samples given, as a known set to be
            transmitted along with R.

    Source: Rey-de-Castro & Rabitz 2018, section 5.4: the temporal term, and the known set.
    """

    form: Literal["unet", "paper"] = "unet"
    width: int = 32
    depth: int = 2
    epochs: int = 10
    batch_size: int = 32
    lr: float = 2e-3
    warmup: float = 0.1
    ema: float = 0.0
    bf16: bool = False
    normalise: bool = True
    task: float = 0.0
    temporal: float = 0.0
    temporal_form: TemporalForm = "matched"
    held_out: float = 0.1
    memorise: bool = False

    def __post_init__(self) -> None:
        """Refuse impossible values at once."""
        for name, right, allowed in (
            ("temporal_form", self.temporal_form in get_args(TemporalForm), "'matched' or 'raw'"),
            ("epochs", self.epochs >= 1, "at least 1"),
            ("batch_size", self.batch_size >= 1, "at least 1"),
            ("warmup", 0 <= self.warmup < 1, "a number in [0, 1)"),
            ("ema", 0 <= self.ema < 1, "a number in [0, 1)"),
            ("task", 0 <= self.task < math.inf, "0 or more"),
            ("temporal", 0 <= self.temporal < math.inf, "0 or more"),
            ("lr", 0 < self.lr < math.inf, "a positive number, such as 2e-3"),
            ("held_out", 0 < self.held_out < 1, "a number between 0 and 1, or memorise"),
        ):
            if not right:
                raise ValueError(f"{name} is {getattr(self, name)!r}; give {allowed}")
