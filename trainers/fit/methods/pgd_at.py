"""Adversarial training with projected gradient descent."""

from torch import Tensor

from trainers.fit.methods.method import TrainingStep, fit_perturbed

STEPS = 7


def pgd_at(training: TrainingStep, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Perturb samples (B, ...) by PGD with a random start, and fit them; see `fit_perturbed`.

    Source: Madry et al. 2018, eq. (2.1); 7 steps are those of its section 5 for CIFAR-10.
    """
    steps = training.options.train_steps or STEPS
    return fit_perturbed(training, x, y, steps=steps, step_size=training.step_size(steps))
