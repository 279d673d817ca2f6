"""How to train R: network, loss and schedule."""

from dataclasses import dataclass
from typing import Annotated, Literal

from attacks.common.options import BelowOne, Count, NonNegative, Options, Positive, inside

TemporalForm = Literal["matched", "raw"]


@dataclass(frozen=True, kw_only=True)
class ReconstructionOptions(Options):
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
    width: Count = 32
    depth: int = 2
    epochs: Count = 10
    batch_size: Count = 32
    lr: Positive = 2e-3
    warmup: BelowOne = 0.1
    ema: BelowOne = 0.0
    bf16: bool = False
    normalise: bool = True
    task: NonNegative = 0.0
    temporal: NonNegative = 0.0
    temporal_form: TemporalForm = "matched"
    held_out: Annotated[float, inside(0, 1)] = 0.1
    memorise: bool = False
