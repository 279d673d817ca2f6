"""What a training method is, what it is given, and the inner problem that most of them pose."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attacks.common.bpda import SURROGATE, stand_ins
from attacks.common.frozen import reentrant_checkpoints
from attacks.common.goal import Classifier, cross_entropy, logits_of, value_and_gradient
from attacks.common.threat import Threat
from attacks.gradient.projected_ascent import step
from trainers.fit.options import FitOptions

RADII = 2.5  # that the steps of an inner problem span by default, as those of PGD
Loss = Callable[[Tensor], Tensor]  # of logits (B, K), (B,)


@dataclass(frozen=True)
class TrainingStep:
    """A step of a fit, for a method to perturb samples and compute its loss in.

    Attributes:
        model: the classifier, in training mode.
        forward: its pass in training mode, x (B, ...) to logits (B, K), through which the loss is
            propagated back; each one updates the statistics of BatchNorm.
        options: of the fit.
        generator: of the epoch's noise.
        static: further classifiers, in eval mode, which stay as they are.
        fixed: (B,) bool, on the CPU, the samples of the batch that are fitted as they are; None
            where all are perturbed.
        carried: what a method carries from step to step of an epoch.
    """

    model: nn.Module
    forward: Classifier
    options: FitOptions
    generator: torch.Generator
    static: Sequence[nn.Module] = ()
    fixed: Tensor | None = None
    carried: dict[str, Tensor] = field(default_factory=dict)

    def threat(self, x: Tensor) -> Threat:
        """Return the ball around each of x (B, ...) that is trained for."""
        return Threat.around(x, norm=self.options.train_norm, eps=self.options.train_eps)

    def generators(self, x: Tensor) -> Sequence[torch.Generator]:
        """Return the generator for each of x (B, ...): the one, which serves them in turn."""
        return [self.generator] * len(x)

    def step_size(self, steps: int) -> float:
        """Return the length of an inner step in pixel units."""
        return self.options.train_step_size or RADII * self.options.train_eps / steps


class Method:
    """A training method; by itself it perturbs nothing, and fits the cross-entropy.

    A step perturbs the samples of its batch but the fixed ones, and takes the gradient of the loss
    in the weights.

    Attributes:
        clean_share: share of a batch that is fitted as it is, where no option says so.
    """

    clean_share: ClassVar[float] = 0.0

    def perturb(self, training: TrainingStep, x: Tensor, y: Tensor) -> Tensor:
        """Return x' (B, ...) for samples x (B, ...) in [0, 1] and labels y (B,)."""
        return x

    def loss(
        self, training: TrainingStep, x: Tensor, x_adv: Tensor, y: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the logits (B, K) that the record counts, and the loss to propagate back, ().

        Args:
            training: the step of the fit.
            x: samples, (B, ...) in [0, 1].
            x_adv: the same after `perturb`, but for the fixed ones.
            y: labels, int64 (B,).
        """
        logits = training.forward(x_adv)
        return logits, F.cross_entropy(logits, y, label_smoothing=training.options.label_smoothing)

    def replays(self, options: FitOptions) -> int:
        """Return how many steps are taken on each batch in turn."""
        return 1


@contextmanager
def inner_problem(training: TrainingStep) -> Iterator[Classifier]:
    """Yield the classifier's pass for an inner problem: eval mode, gradients in x alone.

    No statistics of BatchNorm change, dropout is off, and parameters are constant, which spares
    their gradients. Flags are put back. `frozen` would also copy and compare all weights, in
    each step of a fit.
    """
    model = training.model
    flags = [(module, module.training) for module in model.modules()]
    asking = [p for p in model.parameters() if p.requires_grad]
    try:
        for module, _ in flags:
            module.training = False
        for parameter in asking:
            parameter.requires_grad_(False)
        with reentrant_checkpoints(), look_behind(model):
            yield partial(evaluate, training, model)
    finally:
        for module, flag in flags:
            module.training = flag
        for parameter in asking:
            parameter.requires_grad_(True)


def look_behind(model: nn.Module) -> AbstractContextManager[None]:
    """Let gradients pass in the body through the layers that have a surrogate, as defences do."""
    names = [name for name, module in model.named_modules() if hasattr(module, SURROGATE)]
    if not names:
        return nullcontext()
    return stand_ins(model, torch.empty(0), f"{SURROGATE}:{'+'.join(names)}")


def evaluate(training: TrainingStep, model: nn.Module, x: Tensor) -> Tensor:
    """Return the logits (B, K) of x (B, ...) by a model in eval mode, in the fit's precision."""
    with torch.autocast(x.device.type, torch.bfloat16, enabled=training.options.bf16):
        return logits_of(model, x)


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


def ascend_from_random(
    training: TrainingStep, x: Tensor, y: Tensor, *, steps: int, step_size: float
) -> Tensor:
    """Return x' (B, ...): from random points of the balls, the cross-entropy is raised.

    Args:
        training: the step of the fit.
        x: samples, (B, ...) in [0, 1].
        y: labels, int64 (B,).
        steps: how many.
        step_size: of each, in pixel units.
    """
    threat = training.threat(x)
    start = threat.random_start(training.generators(x))
    with inner_problem(training) as forward:
        loss = partial(cross_entropy, y=y)
        return ascend(forward, threat, start, loss, steps=steps, step_size=step_size)
