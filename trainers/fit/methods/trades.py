"""TRADES: accuracy on the samples, and the same answers around them."""

from functools import partial

import torch.nn.functional as F
from torch import Tensor

from attacks.common.goal import detached_logits
from attacks.common.randomness import normal
from trainers.fit.methods.method import Method, TrainingStep, ascend, inner_problem

STEPS = 10
BETA = 6.0
NOISE = 1e-3  # standard deviation of the start


class Trades(Method):
    """The cross-entropy of f(x), and `beta` times KL(f(x) || f(x')), x' raising that divergence.

    Both sides of the divergence are fitted. BatchNorm sees two batches in turn: the clean one,
    then the perturbed one.

    Source: Zhang et al. 2019, eq. (5) and algorithm 1, beta being 1 / lambda.
    """

    def perturb(self, training: TrainingStep, x: Tensor, y: Tensor) -> Tensor:
        """Return x' (B, ...), the last of the steps that raise the divergence from f(x)."""
        threat, steps = training.threat(x), training.options.train_steps or STEPS
        start = threat.project(x + NOISE * normal(x, training.generators(x)))
        with inner_problem(training) as forward:
            loss = partial(divergence, detached_logits(forward, x))
            size = training.step_size(steps)
            return ascend(forward, threat, start, loss, steps=steps, step_size=size)

    def loss(
        self, training: TrainingStep, x: Tensor, x_adv: Tensor, y: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the logits (B, K) of x', and the mean of both terms; see `Method.loss`."""
        options = training.options
        clean, logits = training.forward(x), training.forward(x_adv)
        natural = F.cross_entropy(clean, y, label_smoothing=options.label_smoothing)
        beta = BETA if options.beta is None else options.beta
        return logits, natural + beta * divergence(clean, logits).mean()


def divergence(first: Tensor, second: Tensor) -> Tensor:
    """Return KL(p || q) of the classes' probabilities by two kinds of logits (B, K), (B,)."""
    p, q = F.log_softmax(first, 1), F.log_softmax(second, 1)
    return F.kl_div(q, p, log_target=True, reduction="none").sum(1)
