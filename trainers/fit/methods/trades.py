"""TRADES: accuracy on the samples, and the same answers around them."""

import torch.nn.functional as F
from torch import Tensor

from attacks.common.goal import detached_logits
from attacks.common.randomness import normal
from trainers.fit.methods.method import TrainingStep, ascend, inner_problem

STEPS = 10
BETA = 6.0
NOISE = 1e-3  # standard deviation of the start


def trades(training: TrainingStep, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logits (B, K) of perturbed samples, and the loss of TRADES; see `Method`.

    The loss is the mean over the batch of the cross-entropy of f(x) plus `beta` times
    KL(f(x) || f(x')), where x' raises that divergence; both of its sides are fitted. BatchNorm sees
    two batches in turn: the clean one, then the perturbed one.

    Source: Zhang et al. 2019, eq. (5) and algorithm 1, beta being 1 / lambda.
    """
    options, threat = training.options, training.threat(x)
    steps = options.train_steps or STEPS
    start = threat.project(x + NOISE * normal(x, training.generators(x)))
    with inner_problem(training) as forward:
        wanted = detached_logits(forward, x)
        size = training.step_size(steps)
        x_adv = ascend(
            forward, threat, start, lambda z: divergence(wanted, z), steps=steps, step_size=size
        )
    clean, logits = training.forward(x), training.forward(x_adv)
    natural = F.cross_entropy(clean, y, label_smoothing=options.label_smoothing)
    beta = BETA if options.beta is None else options.beta
    return logits, natural + beta * divergence(clean, logits).mean()


def divergence(first: Tensor, second: Tensor) -> Tensor:
    """Return KL(p || q) of the classes' probabilities by two kinds of logits (B, K), (B,)."""
    p, q = F.log_softmax(first, 1), F.log_softmax(second, 1)
    return F.kl_div(q, p, log_target=True, reduction="none").sum(1)
