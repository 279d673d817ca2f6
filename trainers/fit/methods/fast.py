"""Adversarial training with one step from a random start."""

from torch import Tensor

from trainers.fit.methods.method import Method, TrainingStep, ascend_from_random

SCALE = 1.25  # of the step, in radii


class FastTraining(Method):
    """Samples perturbed by one step of 1.25 radii from a random start, and their cross-entropy.

    BatchNorm sees the batch once, so perturbed.

    Source: Wong et al. 2020, algorithm 3 (FGSM with a random start).
    """

    def perturb(self, training: TrainingStep, x: Tensor, y: Tensor) -> Tensor:
        """Return x' (B, ...); see `ascend_from_random`."""
        size = training.options.train_step_size or SCALE * training.options.train_eps
        return ascend_from_random(training, x, y, steps=1, step_size=size)
