"""Steps of an optimiser, without a trace on anything but its own weights."""

import torch
from torch import Tensor


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
