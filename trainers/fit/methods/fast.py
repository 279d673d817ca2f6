"""Adversarial training with one step from a random start."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from attacks.common.goal import cross_entropy
from trainers.fit.methods.method import TrainingStep, ascend, inner_problem

SCALE = 1.25  # of the step, in radii


def fast(training: TrainingStep, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logits (B, K) of perturbed samples and their mean cross-entropy; see `Method`.

    The samples are perturbed by one step of 1.25 radii from a random point of the ball, and back
    into it; the first `clean_share` of the batch, which is shuffled, stay as they are. BatchNorm
    sees the batch once, so perturbed.

    Source: Wong et al. 2020, algorithm 3 (FGSM with a random start).
    """
    clean = training.clean_count(x)
    threat = training.threat(x[clean:])
    start = threat.random_start(training.generators(threat.x))
    size = training.options.train_step_size or SCALE * training.options.train_eps
    with inner_problem(training) as forward:
        loss = partial(cross_entropy, y=y[clean:])
        x_adv = ascend(forward, threat, start, loss, steps=1, step_size=size)
    logits = training.forward(torch.cat([x[:clean], x_adv]))
    return logits, F.cross_entropy(logits, y, label_smoothing=training.options.label_smoothing)
