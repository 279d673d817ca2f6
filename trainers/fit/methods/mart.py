"""MART: adversarial training that minds which samples are wrong without an attack."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from attacks.common.goal import cross_entropy
from attacks.common.randomness import normal
from trainers.fit.methods.method import Method, TrainingStep, ascend, inner_problem
from trainers.fit.methods.trades import divergence

STEPS = 10
BETA = 5.0
NOISE = 1e-3  # standard deviation of the start


class Mart(Method):
    """BCE(f(x'), y), and `beta` times KL(f(x) || f(x')) weighted by 1 - p_y(x), x' being PGD's.

    Gradients flow through all of these. BatchNorm sees two batches in turn: the clean one, then
    the perturbed one.

    Source: Wang et al. 2020, eq. (8) to (11), beta being the paper's lambda; the start is that of
    the authors' code.
    """

    def perturb(self, training: TrainingStep, x: Tensor, y: Tensor) -> Tensor:
        """Return x' (B, ...), the last of the steps that raise the cross-entropy."""
        threat, steps = training.threat(x), training.options.train_steps or STEPS
        start = threat.project(x + NOISE * normal(x, training.generators(x)))
        with inner_problem(training) as forward:
            loss, size = partial(cross_entropy, y=y), training.step_size(steps)
            return ascend(forward, threat, start, loss, steps=steps, step_size=size)

    def loss(
        self, training: TrainingStep, x: Tensor, x_adv: Tensor, y: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the logits (B, K) of x', and the mean of both terms; see `Method.loss`."""
        clean, logits = training.forward(x), training.forward(x_adv)
        doubt = 1 - F.softmax(clean, 1).gather(1, y[:, None]).squeeze(1)  # (B,)
        beta = BETA if training.options.beta is None else training.options.beta
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
