"""Free adversarial training: each gradient moves the weights and the perturbation at once."""

from functools import partial

import torch
from torch import Tensor

from attacks.gradient.projected_ascent import step
from trainers.fit.methods.method import Method, TrainingStep
from trainers.fit.options import FitOptions

REPLAYS = 4


class FreeTraining(Method):
    """Several steps on each batch, whose one backward pass serves weights and samples.

    The perturbation is carried from step to step and from batch to batch of an epoch. Its gradient
    is taken in training mode, as the weights' is: there is no inner problem.

    Source: Shafahi et al. 2019, algorithm 1.
    """

    def replays(self, options: FitOptions) -> int:
        """Return how many steps are taken on each batch in turn, the paper's m."""
        return options.train_steps or REPLAYS

    def perturb(self, training: TrainingStep, x: Tensor, y: Tensor) -> Tensor:
        """Return x (B, ...) moved by what is carried; nothing in the first step of an epoch."""
        delta = torch.zeros_like(x)
        if "delta" in training.carried:
            carried = training.carried["delta"][: len(x)]
            delta[: len(carried)] = carried
        return training.threat(x).project(x + delta)

    def loss(
        self, training: TrainingStep, x: Tensor, x_adv: Tensor, y: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return logits and cross-entropy of x', whose gradient in x' moves what is carried."""
        x_adv = x_adv.detach().requires_grad_()
        moved = partial(carry, training, x, x_adv.detach())
        x_adv.register_hook(moved)  # type: ignore[no-untyped-call]
        return super().loss(training, x, x_adv, y)


def carry(training: TrainingStep, x: Tensor, x_adv: Tensor, gradient: Tensor) -> None:
    """Keep x' - x of the samples that are not fixed, after a step along a gradient (B, ...)."""
    if training.fixed is not None:
        rows = (~training.fixed).to(x.device)
        x, x_adv, gradient = x[rows], x_adv[rows], gradient[rows]
    options = training.options
    size = options.train_step_size or options.train_eps
    training.carried["delta"] = step(training.threat(x), x_adv, gradient, size) - x
