"""MART: adversarial training that minds which samples are wrong without an attack."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from attacks.common.goal import cross_entropy
from attacks.common.randomness import normal
from trainers.fit.methods.method import TrainingStep, ascend, inner_problem
from trainers.fit.methods.trades import divergence

STEPS = 10
BETA = 5.0
NOISE = 1e-3  # standard deviation of the start


def mart(training: TrainingStep, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logits (B, K) of perturbed samples, and the loss of MART; see `Method`.

    The loss is the mean over the batch of BCE(f(x'), y) plus `beta` times KL(f(x) || f(x'))
    weighted by 1 - p_y(x), where PGD's x' raises the cross-entropy; gradients flow through all of
    these. BatchNorm sees two batches in turn: the clean one, then the perturbed one.

    Source: Wang et al. 2020, eq. (8) to (11), beta being the paper's lambda; the start is that of
    the authors' code.
    """
    options, threat = training.options, training.threat(x)
    steps = options.train_steps or STEPS
    start = threat.project(x + NOISE * normal(x, training.generators(x)))
    with inner_problem(training) as forward:
        loss, size = partial(cross_entropy, y=y), training.step_size(steps)
        x_adv = ascend(forward, threat, start, loss, steps=steps, step_size=size)
    clean, logits = training.forward(x), training.forward(x_adv)
    doubt = 1 - F.softmax(clean, 1).gather(1, y[:, None]).squeeze(1)  # (B,)
    beta = BETA if options.beta is None else options.beta
    per_sample = boosted_cross_entropy(logits, y) + beta * divergence(clean, logits) * doubt
    return logits, per_sample.mean()


def boosted_cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Return -log p_y - log(1 - max over k != y of p_k), (B,), from logits (B, K) and labels (B,).

    1 - p_k is summed up from the other classes, so that its logarithm stays finite where p_k is 1.

    Source: Wang et al. 2020, eq. (8).
    """
    log_p = F.log_softmax(logits, 1)
    rival = log_p.scatter(1, y[:, None], -torch.inf).argmax(1, keepdim=True)  # (B, 1)
    log_rest = log_p.scatter(1, rival, -torch.inf).logsumexp(1)
    return -log_p.gather(1, y[:, None]).squeeze(1) - log_rest
