"""The channels of a layer for one sample, as pictures."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from attacks.common.activations import Representation, find_layers
from attacks.common.batch_attack import check_samples
from attacks.common.frozen import frozen
from explain.network.grid import frames_in_a_row, tile


@dataclass(frozen=True)
class ActivationMaps:
    """Channels of a layer for one sample, those with the highest activation first.

    Attributes:
        pictures: (N, 1, H, W) in [0, 1]; the frames of a clip stand in a row.
        channels: their N numbers.
        low: the lowest activation of the whole layer, 0 in the pictures.
        high: the highest, 1 in the pictures.
    """

    pictures: Tensor
    channels: list[int]
    low: float
    high: float


def activation_maps(
    model: nn.Module,
    x: Tensor,
    *,
    layer: str,
    most: int = 64,
    channels: Sequence[int] | None = None,
) -> ActivationMaps:
    """Draw the channels of a layer for one sample, those with the highest activation first.

    Of equal ones, as of many behind a ReLU6, that with the higher mean comes first. All share one
    scale, so that a channel which is silent is dark.

    Args:
        model: the classifier; left exactly as it was.
        x: a sample, (1, C, H, W) or (1, C, T, H, W) in [0, 1].
        layer: its name, as `named_modules()` has it.
        most: channels that are drawn.
        channels: numbers of those to draw instead, in this order.

    Raises:
        ValueError: for several samples, or a layer that has no channels of pixels.

    Source: Zeiler & Fergus 2014, section 4.
    """
    check_samples(x)
    if len(x) != 1:
        raise ValueError(f"x has {len(x)} samples; give one, x[i : i + 1]")
    with frozen(model), torch.no_grad():
        (output,) = Representation(model, find_layers(model, layer), x)(x)
    if output.ndim != x.ndim:
        raise ValueError(
            f"layer {layer!r} returns {tuple(output.shape)} for samples {tuple(x.shape)}; name one "
            "with channels of pixels"
        )
    every = output[0].unsqueeze(1)  # (N, 1, ...)
    if channels is None:
        flat = every.flatten(1)
        order = flat.mean(1).argsort(descending=True, stable=True)
        order = order[flat.amax(1)[order].argsort(descending=True, stable=True)]
        channels = order[:most].tolist()
    low, high = output.amin(), output.amax()
    scaled = (every[list(channels)] - low) / (high - low).clamp_min(torch.finfo(output.dtype).tiny)
    return ActivationMaps(frames_in_a_row(scaled), list(channels), float(low), float(high))


def activation_grid(
    model: nn.Module, x: Tensor, *, layer: str, most: int = 64, columns: int | None = None
) -> tuple[Tensor, list[int]]:
    """Draw the channels of a layer for one sample as one picture; see `activation_maps`.

    Args:
        model: the classifier; left exactly as it was.
        x: a sample, (1, C, H, W) or (1, C, T, H, W) in [0, 1].
        layer: its name, as `named_modules()` has it.
        most: channels that are drawn.
        columns: channels in a row; None makes about as many rows as columns.

    Returns:
        A picture (1, H, W) in [0, 1], and the numbers of its channels.

    Raises:
        ValueError: for several samples, or a layer that has no channels of pixels.
    """
    maps = activation_maps(model, x, layer=layer, most=most)
    return tile(maps.pictures, columns=columns), maps.channels
