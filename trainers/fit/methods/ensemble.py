"""Ensemble adversarial training: perturbed for classifiers that do not follow the fit."""

from functools import partial

import torch
from torch import Tensor

from attacks.common.goal import cross_entropy
from trainers.fit.methods.method import Method, TrainingStep, ascend, evaluate, inner_problem


class EnsembleTraining(Method):
    """Samples perturbed by one step for a classifier drawn for each batch, and clean ones.

    It is drawn among the static ones and the one that is fitted. Half of a batch stays clean.

    Source: Tramer et al. 2018, section 3.4 and eq. (3).
    """

    clean_share = 0.5

    def perturb(self, training: TrainingStep, x: Tensor, y: Tensor) -> Tensor:
        """Return x' (B, ...) after one step of the radius up the cross-entropy of one of them."""
        chosen = int(torch.randint(1 + len(training.static), (), generator=training.generator))
        options, threat, loss = training.options, training.threat(x), partial(cross_entropy, y=y)
        size = options.train_step_size or options.train_eps
        with inner_problem(training) as own:
            others = [partial(evaluate, training, model) for model in training.static]
            forward = others[chosen - 1] if chosen else own
            return ascend(forward, threat, x, loss, steps=1, step_size=size)
