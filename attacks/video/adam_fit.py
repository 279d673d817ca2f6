"""The fit of one perturbation to clips by Adam."""

import torch
from torch import Tensor

from attacks.common.optimizers import Adam
from attacks.universal.fitting import EpochFit
from attacks.universal.perturbation import Perturbation
from attacks.universal.saved_attack import Record


class AdamFit(EpochFit[Perturbation]):
    """A perturbation in progress, with Adam's moments and the number of steps taken.

    Attributes:
        delta: the perturbation, (1, C, ...).
        left_out: misclassified samples in this epoch, which the fit skips.
    """

    def __init__(self, delta: Tensor, *, name: str, eps: float, target: int | None) -> None:
        """Begin with zeros.

        Args:
            delta: gives shape, type and device, (1, C, ...).
            name: of the perturbation in `state_dict`.
            eps: largest size of its values, in pixel units.
            target: class to reach; None for an untargeted fit.
        """
        self.name, self.eps, self.target = name, eps, target
        self.delta, self.adam = torch.zeros_like(delta), Adam.like(delta)
        self.steps = torch.zeros((), dtype=torch.int64)
        self.left_out = 0

    def descend(self, gradient: Tensor, *, lr: float) -> None:
        """Take a step against a gradient, like delta, and clamp delta to [-eps, eps]."""
        self.steps = self.steps + 1
        step = self.adam.step(gradient, number=int(self.steps), lr=lr)
        self.delta = (self.delta - step).clamp(-self.eps, self.eps)

    def is_correct(self, y: Tensor, predicted: Tensor) -> Tensor:
        """Tell which predictions (B,) do not contradict a label of y (B,), bool (B,)."""
        return (y < 0) | (y == predicted)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the perturbation, the number of steps, and Adam's moments."""
        return {self.name: self.delta, "steps": self.steps, **self.adam.tensors()}

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Continue from the tensors of an earlier `state_dict`."""
        self.delta, self.steps = tensors[self.name].to(self.delta), tensors["steps"].cpu()
        self.adam.restore(tensors)

    def result(self, history: tuple[Record, ...]) -> Perturbation:
        """Return the perturbation after the last epoch."""
        return Perturbation(self.delta[0], "linf", self.eps, self.target, history)
