"""Class model visualisation: the image that a network holds to be most of a class."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from attacks.attack import Progress
from attacks.common.best_by_loss import BestByLoss
from attacks.common.frozen import frozen
from attacks.common.goal import Goal
from attacks.common.randomness import generator_for, uniform
from attacks.fooling.activation_maximization import ActivationMaximization
from explain.class_scores import class_logits

DECAY = 0.03  # towards grey; that of a fooling image keeps an eighth of the noise it begins with


@dataclass(frozen=True)
class ClassScore(Goal):
    """The logit of the class itself: the softmax score also grows where others only fall."""

    def objective(self, logits: Tensor) -> Tensor:
        """Return the logit of class y, (B,), from logits (B, K)."""
        self.check_classes(logits)
        return class_logits(logits, self.y)


def class_images(
    model: nn.Module,
    classes: Sequence[int],
    *,
    like: Tensor,
    steps: int = 200,
    step_size: float = 0.02,
    decay: float = DECAY,
    seed: int = 0,
    progress: Progress | None = None,
) -> Tensor:
    """Climb from noise to an image for each class, by the gradient ascent of fooling images.

    Those end as soon as the class is confident; here all steps are made, and the last image is
    returned. It depends on its class and the seed, not on what other classes are asked for.

    Args:
        model: the classifier; left exactly as it was.
        classes: class ids, K of them.
        like: samples (B, C, ...) whose shape, type and device the images have.
        steps: gradient steps, each a forward and a backward pass.
        step_size: root mean square change of a value in a step, in pixel units.
        decay: share of its distance to grey that a value loses in a step.
        seed: of the noise.
        progress: called with (steps done, steps in all).

    Returns:
        Images in [0, 1], (K, C, ...).

    Raises:
        ValueError: for a class that the model does not have.

    Source: Simonyan, Vedaldi & Zisserman 2014, section 2, eq. (1).
    """
    y = torch.tensor(classes, device=like.device)
    blank = like.new_zeros(len(y), *like.shape[1:])
    noise = (uniform(blank, [generator_for(seed, number) for number in classes]) + 1) / 2
    best, never = BestByLoss.start(noise), torch.zeros_like(y, dtype=torch.bool)
    images = ActivationMaximization(
        ClassScore(y), noise, blank, best, never, step_size=step_size, decay=decay
    )
    with frozen(model):
        for number in range(steps + 1):  # of which the first evaluates the noise
            images.step(model, number, [], done=never)
            if progress and number:
                progress(number, steps)
    return images.x_adv
