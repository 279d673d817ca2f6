"""ResNet-18 with norm and activation in front of each convolution, for images of about 32x32."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn


class PreActBlock(nn.Module):
    """Two 3x3 convolutions, each behind its norm and activation, around a shortcut.

    Where shapes differ, the shortcut is a 1x1 convolution of the first activation.

    Source: He et al. 2016 (Identity Mappings), fig. 1b.
    """

    def __init__(
        self, c_in: int, c_out: int, stride: int, activation: Callable[[Tensor], Tensor]
    ) -> None:
        """Build the block."""
        super().__init__()
        self.activation = activation
        self.bn1 = nn.BatchNorm2d(c_in)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1, bias=False)
        self.shortcut: nn.Module | None = None
        if stride != 1 or c_in != c_out:
            self.shortcut = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c_in, H, W) to (B, c_out, H/stride, W/stride)."""
        out = self.activation(self.bn1(x))
        shortcut = x if self.shortcut is None else self.shortcut(out)
        out = self.conv2(self.activation(self.bn2(self.conv1(out))))
        total: Tensor = out + shortcut
        return total


class PreActResNet18(nn.Module):
    """PreActResNet-18, with 11.2 million parameters; its tensors are named as Rice et al.'s.

    A smooth activation such as SiLU makes adversarially trained networks more robust (Xie et al.
    2020, Gowal et al. 2020).

    Source: He et al. 2016 (Identity Mappings).
    """

    def __init__(
        self,
        *,
        num_classes: int = 10,
        in_channels: int = 3,
        width: int = 64,
        activation: Callable[[Tensor], Tensor] = F.relu,
    ) -> None:
        """Build it; stage i has ``width`` x 2^i channels."""
        super().__init__()
        self.activation = activation
        self.conv1 = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.layer1 = _stage(width, width, 1, activation)
        self.layer2 = _stage(width, 2 * width, 2, activation)
        self.layer3 = _stage(2 * width, 4 * width, 2, activation)
        self.layer4 = _stage(4 * width, 8 * width, 2, activation)
        self.bn = nn.BatchNorm2d(8 * width)
        self.linear = nn.Linear(8 * width, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, K) of images (B, C, H, W)."""
        out = self.layer2(self.layer1(self.conv1(x)))  # (B, 2 width, H/2, W/2)
        out = self.layer4(self.layer3(out))  # (B, 8 width, H/8, W/8)
        logits: Tensor = self.linear(self.activation(self.bn(out)).mean((2, 3)))
        return logits


def _stage(
    c_in: int, c_out: int, stride: int, activation: Callable[[Tensor], Tensor]
) -> nn.Sequential:
    first = PreActBlock(c_in, c_out, stride, activation)
    return nn.Sequential(first, PreActBlock(c_out, c_out, 1, activation))
