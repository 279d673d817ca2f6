"""The channels of a layer for one sample, as pictures."""

import torch
from torch import Tensor, nn

from attacks.common.activations import Representation, find_layers
from attacks.common.batch_attack import check_samples
from attacks.common.frozen import frozen
from explain.network.grid import frames_in_a_row, tile


def activation_grid(
    model: nn.Module, x: Tensor, *, layer: str, most: int = 64, columns: int | None = None
) -> tuple[Tensor, list[int]]:
    """Draw the channels of a layer for one sample, those with the highest activation first.

    All share one scale, so that a channel which is silent is dark: the lowest activation of the
    layer is 0, the highest 1. The frames of a clip stand in a row.

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
    channels = output[0].unsqueeze(1)  # (N, 1, ...)
    order = channels.flatten(1).amax(1).argsort(dim=0, descending=True, stable=True)[:most]
    low, high = output.amin(), output.amax()
    scaled = (channels[order] - low) / (high - low).clamp_min(torch.finfo(output.dtype).tiny)
    return tile(frames_in_a_row(scaled), columns=columns), order.tolist()
