"""Adam for a batch in which each sample is optimised by itself, and may leave."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_BETAS = (0.9, 0.999)
_TINY = 1e-8


@dataclass
class Adam:
    """The running means of the gradients of a batch and of their squares.

    Every value has its own, so a batch of samples moves as each of them would by itself.

    Attributes:
        mean: like the gradients, (B, ...).
        square: like them.

    Source: Kingma & Ba 2015, algorithm 1.
    """

    mean: Tensor
    square: Tensor

    @classmethod
    def like(cls, values: Tensor) -> "Adam":
        """Begin for values (B, ...)."""
        return cls(torch.zeros_like(values), torch.zeros_like(values))

    def tensors(self) -> dict[str, Tensor]:
        """Return the state by name."""
        return {"mean": self.mean, "square": self.square}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Load copies of what `tensors` returned; steps change the state in place."""
        self.mean = tensors["mean"].to(self.mean, copy=True)
        self.square = tensors["square"].to(self.square, copy=True)

    def step(self, gradient: Tensor, *, number: int, lr: float) -> Tensor:
        """Update the means by a gradient, and return the change to subtract.

        Args:
            gradient: finite, (B, ...).
            number: of the step, from 1.
            lr: the learning rate.
        """
        beta, beta_square = _BETAS
        self.mean.lerp_(gradient, 1 - beta)
        self.square.mul_(beta_square).addcmul_(gradient, gradient, value=1 - beta_square)
        size = self.square.sqrt().div_(math.sqrt(1 - beta_square**number)).add_(_TINY)
        return torch.div(self.mean, size, out=size).mul_(lr / (1 - beta**number))


def half_cosine(step: float, steps: float = 1) -> float:
    """Return the factor that decays a learning rate along a half cosine, from 1 to 0.

    >>> half_cosine(0, 10), half_cosine(10, 10)
    (1.0, 0.0)
    """
    return (1 + math.cos(math.pi * step / steps)) / 2


def descend(loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """Take a step that lowers a loss ().

    A gradient that is not finite, as that of a batch with NaN in it, counts as zero.
    """
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
        weight.grad = gradient.nan_to_num(0, 0, 0)
    optimizer.step()
    optimizer.zero_grad()


def moments(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the state of an optimiser as tensors by name."""
    states = optimizer.state_dict()["state"]
    return {f"{number}.{name}": t for number, state in states.items() for name, t in state.items()}


def restore_moments(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Give an optimiser of the same weights the state that `moments` returned."""
    content = optimizer.state_dict()
    content["state"] = {}
    for key, tensor in tensors.items():
        number, _, name = key.partition(".")
        content["state"].setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict(content)
