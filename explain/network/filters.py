"""The filters of the first convolution as pictures: what a network looks for first."""

import torch
from torch import Tensor, nn

from attacks.common.activations import find_layers
from explain.network.grid import frames_in_a_row, tile


def filter_grid(
    model: nn.Module, *, layer: str | None = None, columns: int | None = None
) -> Tensor:
    """Draw the filters of a convolution, each scaled so that a weight of 0 is grey, 0.5.

    Filters over three channels are in colour, those over one in grey, those over more are the mean
    of the channels in grey; the frames of a video filter stand in a row.

    Args:
        model: the classifier.
        layer: name of the convolution; None takes the first.
        columns: filters in a row; None makes about as many rows as columns.

    Returns:
        A picture (3, H, W) in [0, 1].

    Raises:
        ValueError: when there is no such convolution.

    Source: Krizhevsky, Sutskever & Hinton 2012, figure 3.
    """
    weight = _kernels(model, layer).detach().float()  # (O, C, ...)
    if weight.shape[1] != 3:
        weight = weight.mean(1, keepdim=True).expand(-1, 3, *weight.shape[2:])
    largest = weight.abs().flatten(1).amax(1).clamp_min(torch.finfo(weight.dtype).tiny)
    scaled = 0.5 + weight / (2 * largest.reshape(-1, *[1] * (weight.ndim - 1)))
    return tile(frames_in_a_row(scaled), columns=columns)


def _kernels(model: nn.Module, layer: str | None) -> Tensor:
    """Return the weights (O, C, H, W) or (O, C, T, H, W) of a layer by name, or of the first.

    A convolution is known by the shape of its weights, for some are layers of a model's own.
    """
    named = (
        model.modules() if layer is None else map(model.get_submodule, find_layers(model, layer))
    )
    for module in named:
        weight = getattr(module, "weight", None)
        if isinstance(weight, Tensor) and weight.ndim in (4, 5):
            return weight
    seen = "the model has none" if layer is None else f"layer {layer!r} is something else"
    raise ValueError(f"filters are the weights of a convolution, and {seen}; name one with --layer")
