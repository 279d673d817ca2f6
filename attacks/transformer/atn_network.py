"""The network of an ATN: maps a sample and a target class to a perturbed sample."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from attacks.common.options import Count, Options, at_least, between

Form = Literal["residual", "autoencoder"]
Weights = dict[str, Tensor]

SMALL = 0.1  # initial scale of a residual network's output, which begins near the identity


@dataclass(frozen=True)
class ATNShape(Options):
    """Define an encoder of two convolutions, a bottleneck of two, and a decoder of two.

    The bottleneck has half the resolution. Its input is conditioned on the target class by one
    learned vector for each class.

    Args:
        channels: C, channels of a sample.
        classes: K, number of target classes.
        dims: 2 for images, 3 for videos.
        form: "residual" outputs the perturbation, "autoencoder" the perturbed sample.
        width: channels at full resolution; twice as many at half resolution.
    """

    channels: Count
    classes: Annotated[int, at_least(2)]
    dims: Annotated[int, between(2, 3)] = 2
    form: Form = "residual"
    width: Count = 32

    @property
    def layers(self) -> dict[str, tuple[int, int]]:
        """Input and output channels of each convolution, by name."""
        full, half = self.width, 2 * self.width
        return {
            "enter": (self.channels, full),
            "down": (full, half),
            "first": (half, half),
            "second": (half, half),
            "up": (half, full),
            "leave": (full, self.channels),
        }

    def initial(self, generator: torch.Generator) -> Weights:
        """Draw weights by name from a generator, scaled as in He et al. 2015."""
        weights: Weights = {}
        for name, (c_in, c_out) in self.layers.items():
            kernel = torch.randn(c_out, c_in, *[3] * self.dims, generator=generator)
            weights[f"{name}.weight"] = kernel * math.sqrt(2 / (c_in * 3**self.dims))
            weights[f"{name}.bias"] = torch.zeros(c_out)
        weights["class"] = torch.randn(self.classes, 2 * self.width, generator=generator)
        if self.form == "residual":
            weights["leave.weight"] *= SMALL
        return weights


def transform(weights: Weights, x: Tensor, target: Tensor, *, shape: ATNShape) -> Tensor:
    """Perturb samples with one forward pass of the network.

    Args:
        weights: by name, see `ATNShape.initial`.
        x: samples (B, C, H, W) or (B, C, T, H, W) in [0, 1].
        target: classes to aim at, int64 (B,).
        shape: of the network.

    Returns:
        The perturbed samples, like x in [0, 1].
    """
    convolve = F.conv2d if shape.dims == 2 else F.conv3d

    def layer(name: str, hidden: Tensor, stride: int = 1) -> Tensor:
        kernel, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        return convolve(hidden, kernel, bias, stride=stride, padding=1)

    label = weights["class"][target].reshape(len(x), -1, *[1] * shape.dims)  # (B, 2w, 1, ...)
    hidden = layer("enter", x).relu()  # (B, w, H, W)
    hidden = (layer("down", hidden, stride=2) + label).relu()  # (B, 2w, H/2, W/2)
    hidden = hidden + layer("first", hidden).relu()
    hidden = hidden + layer("second", hidden).relu()
    hidden = F.interpolate(hidden, size=x.shape[2:])  # (B, 2w, H, W)
    output = layer("leave", layer("up", hidden).relu())  # (B, C, H, W)
    return (x + output).clamp(0, 1) if shape.form == "residual" else output.sigmoid()
