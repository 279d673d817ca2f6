"""Receptive fields: the pixels that an output of a layer depends on, by its place."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from attacks.common.activations import Representation, find_layers
from attacks.common.frozen import frozen
from attacks.common.randomness import generator_for

PROBES = 2  # random samples: a maximum in a function lets only one of its values through
BRIGHT = 0.6  # their darkest value, above the means that normalisations take off
_MEANS: dict[type[nn.Module], Any] = {nn.MaxPool2d: nn.AvgPool2d, nn.MaxPool3d: nn.AvgPool3d}


def receptive_fields(model: nn.Module, layer: str, x: Tensor, *, chunk: int = 64) -> list[Tensor]:
    """Return the first and the last pixel, plus one, behind each place of a layer's outputs.

    They are where the gradient is not zero in a copy of the network that only averages: all its
    weights are above zero, so that no two paths cancel, no ReLU is silent, and a maximum is a mean.
    Behind a layer that sees all pixels, such as a squeeze-and-excitation, the field is the sample.

    Args:
        model: the classifier; left exactly as it was.
        layer: its name; its outputs are (B, U, ...) with as many dimensions as samples.
        x: samples (B, C, ...), of which the shape alone is used.
        chunk: samples in a pass, which bounds the memory.

    Returns:
        For each dimension of the outputs int64 (places, 2), cut at the borders of the sample.
    """
    averaging, generator = _averaging(model), generator_for("receptive field")
    drawn = torch.rand(PROBES, *x.shape[1:], generator=generator, dtype=torch.double)
    probes = BRIGHT + (1 - BRIGHT) * drawn.to(x.device)  # (PROBES, C, ...)
    with frozen(averaging):
        representation = Representation(averaging, find_layers(averaging, layer), probes[:1])
        with torch.no_grad():
            sizes = representation(probes[:1])[0].shape[2:]

        few = [torch.tensor([0, n // 2, min(n // 2 + 1, n - 1), n - 1]) for n in sizes]
        measured = zip(_measure(representation, probes, few, chunk=chunk), sizes, strict=True)
        fields = [
            _extrapolated(field, places=places, pixels=pixels)
            for (field, places), pixels in zip(measured, x.shape[2:], strict=True)
        ]
        known = [field for field in fields if field is not None]
        if len(known) == len(fields):
            return known
        # One dimension's field does not depend on the place in another: a diagonal has all.
        diagonal = [torch.arange(max(sizes)).clamp_max(n - 1) for n in sizes]
        every = _measure(representation, probes, diagonal, chunk=chunk)
    return [field[:places] for field, places in zip(every, sizes, strict=True)]


def _measure(
    representation: Representation, probes: Tensor, places: Sequence[Tensor], *, chunk: int
) -> list[Tensor]:
    """Return the fields of P places along each dimension, (P, 2) each.

    Args:
        representation: a layer of a network that only averages.
        probes: samples (PROBES, C, ...).
        places: numbers along each dimension, int64 (P,) each.
        chunk: places in a pass.
    """
    parts = torch.split(torch.stack(list(places), 1), chunk)  # (P', dims) each
    by_probe = [
        torch.cat([_reached(representation, one, part) for part in parts]) for one in probes
    ]
    reached = torch.stack(by_probe).any(0).cpu()  # (P, ...)
    return [_extent(reached, dim) for dim in range(len(places))]


def _extrapolated(few: Tensor, *, places: int, pixels: int) -> Tensor | None:
    """Return the fields of all places along a dimension (places, 2), or None if they are irregular.

    Args:
        few: fields of the first place, two in the middle and the last, (4, 2).
        places: how many there are.
        pixels: of the sample along the dimension.
    """
    first, middle, following, last = few
    from_middle = torch.arange(places)[:, None] - places // 2
    fields = (middle + from_middle * (following - middle)).clamp(0, pixels)
    ends = torch.stack([first, last])
    return fields if torch.equal(fields[[0, -1]], ends) else None


def _averaging(model: nn.Module) -> nn.Module:
    """Return a copy of a model in float64 whose weights are above zero, and its biases zero.

    The weights are so small that no sum grows to where a ReLU6, say, has no slope.
    """
    fresh = copy.deepcopy(model).double()
    with torch.no_grad():
        for name, parameter in fresh.named_parameters():
            drawn = torch.rand(parameter.shape, generator=generator_for(name), dtype=torch.double)
            fan_in = parameter[0].numel() if parameter.ndim > 1 else 1
            parameter.copy_(0 * drawn if name.endswith("bias") else (0.25 + drawn / 2) / fan_in)
    for module in list(fresh.modules()):
        if isinstance(module, _BatchNorm) and module.track_running_stats:
            module.reset_running_stats()
        for name, child in module.named_children():
            if type(child) in _MEANS and child.dilation in (1, (1, 1), (1, 1, 1)):
                mean = _MEANS[type(child)]
                sides = child.kernel_size, child.stride, child.padding, child.ceil_mode
                setattr(module, name, mean(*sides))
    return fresh


def _reached(representation: Representation, probe: Tensor, places: Tensor) -> Tensor:
    """Return where the gradient of the outputs at places (P, dims) is not zero, bool (P, ...)."""
    x = probe.expand(len(places), *probe.shape).clone().requires_grad_()
    (output,) = representation(x)  # (P, U, ...)
    index: list[Tensor] = [torch.arange(len(places)), *torch.unbind(places, 1)]
    chosen = output.movedim(1, -1)[tuple(index)]  # (P, U)
    (gradient,) = torch.autograd.grad(chosen.sum(), x)
    return (gradient != 0).any(1)


def _extent(reached: Tensor, dim: int) -> Tensor:
    """Return the first and the last pixel, plus one, that is reached along a dimension, (P, 2)."""
    others = [d for d in range(1, reached.ndim) if d != dim + 1]
    line = reached.any(others) if others else reached  # (P, pixels)
    last = line.shape[1] - line.flip(1).byte().argmax(1)
    return torch.stack([line.byte().argmax(1), last], 1)
