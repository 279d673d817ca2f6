"""How to fit a classifier: options, and the learning rate that follows from them."""

import math
from dataclasses import dataclass
from typing import Literal

from attacks.common.optimizers import half_cosine


@dataclass(frozen=True)
class FitOptions:
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

    epochs: int = 10
    batch_size: int = 64
    optimizer: Literal["sgd", "adamw"] = "adamw"
    lr: float = 3e-3
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup: float = 0.1
    label_smoothing: float = 0.0
    ema: float = 0.0
    clip_norm: float | None = None
    bf16: bool = False

    def __post_init__(self) -> None:
        """Refuse impossible values at once."""
        if self.optimizer not in ("sgd", "adamw"):
            raise ValueError(f"optimizer is {self.optimizer!r}; allowed are 'sgd' and 'adamw'")
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give at least 1")
        for name in ("momentum", "warmup", "label_smoothing", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give a number in [0, 1)")
        if not (self.lr > 0 and math.isfinite(self.lr)):
            raise ValueError(f"lr is {self.lr}; give a positive number, such as 3e-3")
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay is {self.weight_decay}; give 0 or more")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ValueError(f"clip_norm is {self.clip_norm}; give a positive number, or leave out")

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
