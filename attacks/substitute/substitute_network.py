"""The small classifier that imitates a black-box model."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

GRID = 2  # cells on each side that the last feature maps are averaged to


@dataclass(frozen=True)
class SubstituteShape:
    """Define two convolutions, each followed by a pooling, and two linear layers.

    Args:
        channels: C, channels of a sample.
        classes: K, number of classes.
        dims: 2 for images, 3 for videos.
        width: channels after the first convolution; twice as many after the second.
    """

    channels: int
    classes: int
    dims: int = 2
    width: int = 32

    def build(self, seed: int) -> nn.Sequential:
        """Return the classifier in eval mode, with weights drawn from a seed.

        Source: Papernot et al. 2017, table 13, architecture A, smaller.
        """
        flat = self.dims == 2
        convolution, pool = (nn.Conv2d, nn.MaxPool2d) if flat else (nn.Conv3d, nn.MaxPool3d)
        average = nn.AdaptiveAvgPool2d if flat else nn.AdaptiveAvgPool3d
        width, cells = self.width, GRID**self.dims
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return nn.Sequential(
                Centre(),
                convolution(self.channels, width, 3, padding=1),
                nn.ReLU(),
                pool(2, ceil_mode=True),
                convolution(width, 2 * width, 3, padding=1),
                nn.ReLU(),
                average(GRID),
                nn.Flatten(),
                nn.Linear(2 * width * cells, 4 * width),
                nn.ReLU(),
                nn.Linear(4 * width, self.classes),
            ).eval()


class Centre(nn.Module):
    """Map values from [0, 1] to [-1, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        """Return 2 x - 1."""
        return 2 * x - 1
