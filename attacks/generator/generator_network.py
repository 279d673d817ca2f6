"""The perturbation generator P: a small convolutional network for each sample of a batch."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor, nn

from attacks.common.options import Bound, Count, Options, between
from attacks.errors import RefusedInput
from attacks.files import packed, read_tensors, write_bytes

ODD = Bound(lambda width: width % 2 == 1 and width > 0, "that is odd, such as 3")


@dataclass(frozen=True)
class Architecture(Options):
    """The layers of P: `blocks` times (`layers` convolutions C -> C, then a ReLU).

    Args:
        channels: C, channels of a sample.
        dims: 2 for images, 3 for videos.
        kernel: odd width of the convolutions along every dimension.
        blocks: number of blocks.
        layers: convolutions in each block.

    Source: Rey-de-Castro & Rabitz 2018, section 3.
    """

    channels: Count
    dims: Annotated[int, between(2, 3)] = 2
    kernel: Annotated[int, ODD] = 3
    blocks: Count = 3
    layers: Count = 3

    @property
    def fan_in(self) -> int:
        """Number of inputs of one output value, with the bias's constant 1."""
        return int(self.channels * self.kernel**self.dims) + 1

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one sample's weights: (convolutions, C, fan_in), with the bias last."""
        return self.blocks * self.layers, self.channels, self.fan_in

    def identity(self, batch: int, like: Tensor) -> Tensor:
        """Return weights (B, *shape) with which P(x) = x for x >= 0.

        Each kernel is a Dirac impulse, each bias zero; `like` gives type and device.
        """
        window = (self.kernel,) * self.dims
        kernel = torch.empty(self.channels, self.channels, *window, device=like.device)
        nn.init.dirac_(kernel)
        weights = F.pad(kernel.flatten(1), (0, 1)).to(like.dtype)  # (C, fan_in)
        return weights.expand(batch, *self.shape).contiguous()  # (B, L, C, fan_in)


def perturb(weights: Tensor, x: Tensor, *, architecture: Architecture) -> Tensor:
    """Compute P(x), each sample through its own network.

    Args:
        weights: (B, *architecture.shape).
        x: (B, C, H, W) or (B, C, T, H, W).
        architecture: of each network.

    Returns:
        P(x), like x, not clamped.
    """
    batch, channels = x.shape[:2]
    convolve = F.conv2d if architecture.dims == 2 else F.conv3d
    layout = _layout(x)
    hidden = x.reshape(1, batch * channels, *x.shape[2:])  # (1, B*C, ...)
    hidden = hidden.contiguous(memory_format=layout)
    for layer in range(weights.shape[1]):
        kernel, bias = weights[:, layer, :, :-1], weights[:, layer, :, -1]
        window = (architecture.kernel,) * architecture.dims
        kernel = kernel.reshape(batch * channels, channels, *window)  # (B*C, C, k, k)
        kernel = kernel.contiguous(memory_format=layout)
        hidden = convolve(hidden, kernel, bias.flatten(), padding="same", groups=batch)
        if (layer + 1) % architecture.layers == 0:
            hidden = hidden.relu()
    # The default layout: a classifier may call view().
    output: Tensor = hidden.reshape(x.shape)  # (B, C, ...)
    return output.contiguous()


def _layout(x: Tensor) -> torch.memory_format:
    """Return the memory layout of the fastest convolution: channels-last on the CPU."""
    if x.is_cuda:
        return torch.contiguous_format
    return torch.channels_last if x.ndim == 4 else torch.channels_last_3d


def as_module(weights: Tensor, *, architecture: Architecture) -> nn.Sequential:
    """Build one sample's P as torch layers.

    Args:
        weights: of P, (*architecture.shape).
        architecture: of P.
    """
    convolution = nn.Conv2d if architecture.dims == 2 else nn.Conv3d
    layers: list[nn.Module] = []
    for index, row in enumerate(weights):
        width, kernel = architecture.channels, architecture.kernel
        layer = convolution(width, width, kernel, padding="same").to(row)
        with torch.no_grad():
            layer.weight.copy_(row[:, :-1].reshape(layer.weight.shape))
            if layer.bias is not None:
                layer.bias.copy_(row[:, -1])
        layers.append(layer)
        if (index + 1) % architecture.layers == 0:
            layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def save_generators(path: str | Path, weights: Tensor, *, architecture: Architecture) -> None:
    """Write the networks of N samples to a safetensors file.

    Args:
        path: of the file.
        weights: (N, *architecture.shape).
        architecture: of each network.

    Raises:
        OSError: when the disk is full, say; an earlier file of that name is then untouched.
    """
    notes = {"architecture": json.dumps(asdict(architecture))}
    write_bytes(Path(path), packed({"weights": weights}, notes))


def load_generators(path: str | Path) -> tuple[Tensor, Architecture]:
    """Read what `save_generators` wrote: weights (N, *architecture.shape) and the architecture.

    Raises:
        RefusedInput: when the file does not hold generators, or is damaged.
    """
    try:
        tensors, notes = read_tensors(path)
        architecture = Architecture(**json.loads(notes["architecture"]))
        weights = tensors["weights"]
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise RefusedInput(
            f"{path} does not hold perturbation generators ({error}); give a file written by "
            "attacks.save_generators"
        ) from error
    if weights.shape[1:] != architecture.shape:
        raise RefusedInput(
            f"{path} holds weights {tuple(weights.shape)} where its architecture needs "
            f"(N, {', '.join(map(str, architecture.shape))}); export the generators again"
        )
    return weights, architecture
