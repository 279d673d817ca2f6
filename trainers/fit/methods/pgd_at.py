"""Adversarial training with projected gradient descent."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from attacks.common.goal import cross_entropy
from trainers.fit.methods.method import TrainingStep, ascend, inner_problem

STEPS = 7


def pgd_at(training: TrainingStep, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logits (B, K) of perturbed samples and their mean cross-entropy; see `Method`.

    The samples are perturbed by PGD with a random start; the first `clean_share` of the batch,
    which is shuffled, stay as they are. BatchNorm sees the batch once, so perturbed.

    Source: Madry et al. 2018, eq. (2.1); 7 steps are those of its section 5 for CIFAR-10.
    """
    clean = training.clean_count(x)
    steps = training.options.train_steps or STEPS
    threat = training.threat(x[clean:])
    start = threat.random_start(training.generators(threat.x))
    loss, size = partial(cross_entropy, y=y[clean:]), training.step_size(steps)
    with inner_problem(training) as forward:
        x_adv = ascend(forward, threat, start, loss, steps=steps, step_size=size)
    logits = training.forward(torch.cat([x[:clean], x_adv]))
    return logits, F.cross_entropy(logits, y, label_smoothing=training.options.label_smoothing)
