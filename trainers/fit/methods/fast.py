"""Adversarial training with one step from a random start."""

from torch import Tensor

from trainers.fit.methods.method import TrainingStep, fit_perturbed

SCALE = 1.25  # of the step, in radii


def fast(training: TrainingStep, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Perturb samples (B, ...) by one step of 1.25 radii, and fit them; see `fit_perturbed`.

    Source: Wong et al. 2020, algorithm 3 (FGSM with a random start).
    """
    size = training.options.train_step_size or SCALE * training.options.train_eps
    return fit_perturbed(training, x, y, steps=1, step_size=size)
