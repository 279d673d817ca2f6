"""How to fit a classifier: options, and the learning rate that follows from them."""

from dataclasses import dataclass
from typing import Literal

from attacks.attack import Norm
from attacks.common.optimizers import half_cosine
from attacks.common.options import BelowOne, Count, NonNegative, Options, Positive
from attacks.common.threat import check_radius
from trainers.run.cli.methods import USERS, MethodName, is_given


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
        method: how a step makes its loss: "standard" and "bank" of the samples as they are; of
            perturbed ones "pgd-at", "fast" (one step), "free", "ensemble", "trades" and "mart";
            see `METHODS`.
        train_norm: norm of the ball that such a method perturbs in.
        train_eps: its radius in pixel units.
        train_steps: steps of "pgd-at" (None: 7), "trades" and "mart" (None: 10); how often "free"
            replays a batch (None: 4).
        train_step_size: in pixel units; None takes 2.5 * train_eps / train_steps, of "fast" 1.25 *
            train_eps, of "free" and "ensemble" train_eps.
        beta: weight of the divergence in "trades" (None: 6) and "mart" (None: 5).
        clean_share: share of a batch that such a method leaves as it is, in [0, 1); None: 0, of
            "ensemble" a half.
        awp: how far the weights are moved up the loss before its gradient is taken, a share of
            the length of each; 0 is off; see `perturbed_weights`.

    Raises:
        ValueError: for a value that is not allowed, or an option that the method has no use for.
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
    method: MethodName = "standard"
    train_norm: Norm = "linf"
    train_eps: Positive = 8 / 255
    train_steps: Count | None = None
    train_step_size: Positive | None = None
    beta: NonNegative | None = None
    clean_share: BelowOne | None = None
    awp: BelowOne = 0.0

    def __post_init__(self) -> None:
        """Check the options by themselves, and those that belong together."""
        super().__post_init__()
        check_radius(self.train_norm, self.train_eps)
        for name, methods in USERS.items():
            value = getattr(self, name)
            # A norm and a radius there always are: given or not is not known.
            known = name not in ("train_norm", "train_eps")
            if known and is_given(name, value) and self.method not in methods:
                raise ValueError(
                    f"{name} is {value!r}, and the method {self.method} has no use for it; leave "
                    f"it out, or take {' or '.join(methods)}"
                )

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
