"""What a training method is given and gives back, and the inner problem that most of them pose."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attacks.common.frozen import reentrant_checkpoints
from attacks.common.goal import Classifier, cross_entropy, logits_of, value_and_gradient
from attacks.common.threat import Threat
from attacks.gradient.projected_ascent import step
from trainers.fit.options import FitOptions

RADII = 2.5  # that the steps of an inner problem span by default, as those of PGD
Loss = Callable[[Tensor], Tensor]  # of logits (B, K), (B,)


@dataclass(frozen=True)
class TrainingStep:
    """A step of a fit, for a method to compute its loss in.

    Attributes:
        model: the classifier, in training mode.
        forward: its pass in training mode, x (B, ...) to logits (B, K), through which the loss is
            propagated back; each one updates the statistics of BatchNorm.
        options: of the fit.
        generator: of the epoch's noise.
    """

    model: nn.Module
    forward: Classifier
    options: FitOptions
    generator: torch.Generator

    def threat(self, x: Tensor) -> Threat:
        """Return the ball around each of x (B, ...) that is trained for."""
        return Threat.around(x, norm=self.options.train_norm, eps=self.options.train_eps)

    def generators(self, x: Tensor) -> Sequence[torch.Generator]:
        """Return the generator for each of x (B, ...): the one, which serves them in turn."""
        return [self.generator] * len(x)

    def step_size(self, steps: int) -> float:
        """Return the length of an inner step in pixel units."""
        return self.options.train_step_size or RADII * self.options.train_eps / steps

    def clean_count(self, x: Tensor) -> int:
        """Return how many of a batch x (B, ...), the first, stay clean: fewer than all."""
        return int((self.options.clean_share or 0) * len(x))


# From a step, samples x (B, ...) and labels y (B,) to the logits (B, K) that the record counts, and
# the loss to propagate back, ().
Method = Callable[[TrainingStep, Tensor, Tensor], tuple[Tensor, Tensor]]


@contextmanager
def inner_problem(training: TrainingStep) -> Iterator[Classifier]:
    """Yield the classifier's pass for an inner problem: eval mode, gradients in x alone.

    No statistics of BatchNorm change, dropout is off, and parameters are constant, which spares
    their gradients. Flags are put back. `frozen` would also copy and compare all weights, in
    each step of a fit.
    """
    model, options = training.model, training.options
    flags = [(module, module.training) for module in model.modules()]
    asking = [p for p in model.parameters() if p.requires_grad]

    def forward(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=options.bf16):
            return logits_of(model, x)

    try:
        for module, _ in flags:
            module.training = False
        for parameter in asking:
            parameter.requires_grad_(False)
        with reentrant_checkpoints():
            yield forward
    finally:
        for module, flag in flags:
            module.training = flag
        for parameter in asking:
            parameter.requires_grad_(True)


def ascend(
    forward: Classifier, threat: Threat, x_adv: Tensor, loss: Loss, *, steps: int, step_size: float
) -> Tensor:
    """Return x_adv (B, ...) after steps along the gradient of a loss, each projected to the ball.

    It is the loop of `PGD` without its books: the last iterate is what training takes.

    Args:
        forward: the pass of the inner problem.
        threat: the ball.
        x_adv: where to begin, in the ball.
        loss: to raise.
        steps: how many.
        step_size: of each, in pixel units.
    """
    for _ in range(steps):
        _, _, gradient = value_and_gradient(forward, x_adv, loss)
        x_adv = step(threat, x_adv, gradient, step_size)
    return x_adv


def fit_perturbed(
    training: TrainingStep, x: Tensor, y: Tensor, *, steps: int, step_size: float
) -> tuple[Tensor, Tensor]:
    """Return the logits (B, K) of perturbed samples and their mean cross-entropy; see `Method`.

    From random points of the ball, the steps raise the cross-entropy; the first `clean_share` of
    the batch, which is shuffled, stay as they are. BatchNorm sees the batch once, so perturbed.

    Args:
        training: the step of the fit.
        x: samples, (B, ...) in [0, 1].
        y: labels, int64 (B,).
        steps: of the inner problem.
        step_size: of each, in pixel units.
    """
    clean = training.clean_count(x)
    threat = training.threat(x[clean:])
    start = threat.random_start(training.generators(threat.x))
    loss = partial(cross_entropy, y=y[clean:])
    with inner_problem(training) as forward:
        x_adv = ascend(forward, threat, start, loss, steps=steps, step_size=step_size)
    logits = training.forward(torch.cat([x[:clean], x_adv]))
    return logits, F.cross_entropy(logits, y, label_smoothing=training.options.label_smoothing)
