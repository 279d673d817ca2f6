"""Adversarial weight perturbation: the loss is fitted where the weights are worst, nearby."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def perturbed_weights(
    model: nn.Module, loss: Callable[[], Tensor], *, gamma: float
) -> Iterator[None]:
    """Move each weight along the gradient of a loss, by `gamma` of its own length; then back.

    Biases and the weights of norms, which have one dimension, stay. The pass that the gradient is
    taken in leaves no trace in the statistics of BatchNorm.

    Args:
        model: the classifier.
        loss: makes a pass, and returns the loss to raise, ().
        gamma: how far, a share of the length of each weight.

    Source: Wu et al. 2020, eq. (8) to (10), one step.
    """
    weights = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    statistics = [(buffer, buffer.clone()) for buffer in model.buffers()]
    gradients = torch.autograd.grad(loss(), weights, allow_unused=True)
    places = [(weight, weight.detach().clone()) for weight in weights]
    with torch.no_grad():
        for buffer, before in statistics:
            buffer.copy_(before)
        for weight, gradient in zip(weights, gradients, strict=True):
            if gradient is not None:
                length = gradient.norm().clamp_min(torch.finfo(gradient.dtype).tiny)
                weight.add_(gamma * weight.norm() * gradient / length)
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, before in places:
                weight.copy_(before)
