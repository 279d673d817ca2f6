"""The filters of the first convolution as pictures: what a network looks for first."""

from typing import TypeGuard

import torch
from torch import Tensor, nn

from attacks.common.activations import find_layers
from explain.network.grid import frames_in_a_row, tile


def filter_grid(
    model: nn.Module, *, layer: str | None = None, columns: int | None = None
) -> Tensor:
    """Draw the filters of a convolution as one picture; see `filter_pictures`.

    Args:
        model: the classifier.
        layer: name of the convolution; None takes the first.
        columns: filters in a row; None makes about as many rows as columns.

    Returns:
        A picture (3, H, W) in [0, 1].

    Raises:
        ValueError: when there is no such convolution.
    """
    return tile(filter_pictures(model, layer=layer), columns=columns)


def filter_pictures(model: nn.Module, *, layer: str | None = None) -> Tensor:
    """Draw each filter of a convolution, scaled so that a weight of 0 is grey, 0.5.

    Filters over three channels are in colour, those over one in grey, those over more are the mean
    of the channels in grey; the frames of a video filter stand in a row.

    Args:
        model: the classifier.
        layer: name of the convolution; None takes the first.

    Returns:
        Pictures of its O filters, (O, 3, H, W) in [0, 1].

    Raises:
        ValueError: when there is no such convolution.

    Source: Krizhevsky, Sutskever & Hinton 2012, figure 3.
    """
    if layer is None:
        layer = first_convolution(model)
    (name,) = find_layers(model, layer)
    weight = getattr(model.get_submodule(name), "weight", None)
    if not _is_kernel(weight):
        raise ValueError(
            f"filters are the weights of a convolution, and layer {layer!r} is something else; "
            "name one"
        )
    weight = weight.detach().float()  # (O, C, ...)
    if weight.shape[1] != 3:
        weight = weight.mean(1, keepdim=True).expand(-1, 3, *weight.shape[2:])
    largest = weight.abs().flatten(1).amax(1).clamp_min(torch.finfo(weight.dtype).tiny)
    scaled = 0.5 + weight / (2 * largest.reshape(-1, *[1] * (weight.ndim - 1)))
    return frames_in_a_row(scaled)


def first_convolution(model: nn.Module) -> str:
    """Return the name of the first convolution of a model.

    It is known by the shape of its weights, for some are layers of a model's own.

    Raises:
        ValueError: when there is none.
    """
    for name, module in model.named_modules():
        if _is_kernel(getattr(module, "weight", None)):
            return str(name)
    raise ValueError("filters are the weights of a convolution, and the model has none")


def _is_kernel(weight: object) -> TypeGuard[Tensor]:
    """Tell whether weights are those of a convolution, (O, C, H, W) or (O, C, T, H, W)."""
    return isinstance(weight, Tensor) and weight.ndim in (4, 5)
