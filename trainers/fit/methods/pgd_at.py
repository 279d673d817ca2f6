"""Adversarial training with projected gradient descent."""

from torch import Tensor

from trainers.fit.methods.method import Method, TrainingStep, ascend_from_random

STEPS = 7


class PgdTraining(Method):
    """Samples perturbed by PGD from a random start, and their cross-entropy.

    BatchNorm sees the batch once, so perturbed.

    Source: Madry et al. 2018, eq. (2.1); 7 steps are those of its section 5 for CIFAR-10.
    """

    def perturb(self, training: TrainingStep, x: Tensor, y: Tensor) -> Tensor:
        """Return x' (B, ...); see `ascend_from_random`."""
        steps = training.options.train_steps or STEPS
        size = training.step_size(steps)
        return ascend_from_random(training, x, y, steps=steps, step_size=size)
