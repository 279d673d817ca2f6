"""How to fit a classifier: options, and the learning rate that follows from them."""

from dataclasses import dataclass
from typing import Literal

from attacks.common.optimizers import half_cosine
from attacks.common.options import BelowOne, Count, NonNegative, Options, Positive


@dataclass(frozen=True)
class FitOptions(Options):
    """Optimiser and schedule of ``fit_classifier``.

    Args:
        epochs: passes over the training set.
        batch_size: samples a step.
        optimizer: "adamw", or "sgd" with Nesterov momentum.
        lr: peak learning rate; 3e-3 suits adamw from scratch, 0.1 sgd.
        momentum: of sgd; the first beta of adamw.
        weight_decay: decoupled with adamw, in the gradient with sgd.
        warmup: share of all steps in which the rate rises linearly; a cosine to 0 follows.
        label_smoothing: in [0, 1).
        ema: decay of an exponential moving average of the weights, which replaces them at the
            end; 0 is off.
        clip_norm: largest L2 norm of the whole gradient; None is off.
        bf16: bfloat16 autocast in forward passes.
    """

    epochs: Count = 10
    batch_size: Count = 64
    optimizer: Literal["sgd", "adamw"] = "adamw"
    lr: Positive = 3e-3
    momentum: BelowOne = 0.9
    weight_decay: NonNegative = 5e-4
    warmup: BelowOne = 0.1
    label_smoothing: BelowOne = 0.0
    ema: BelowOne = 0.0
    clip_norm: Positive | None = None
    bf16: bool = False

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of one step (0-based) of ``steps``: linear warm-up, then a cosine.

        >>> options = FitOptions(lr=1.0, warmup=0.2)
        >>> [round(options.rate(step, 10), 2) for step in (0, 1, 2, 6, 9)]
        [0.5, 1.0, 1.0, 0.5, 0.04]
        """
        rising = round(self.warmup * steps)
        if step < rising:
            return self.lr * (step + 1) / rising
        return self.lr * half_cosine(step - rising, steps - rising)
