"""ResNet-18 for small images: a 3x3 stem and no max-pooling in front of the four stages."""

import torch.nn.functional as F
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut; names as torchvision's, so that weights carry over.

    Source: He et al. 2016, fig. 2.
    """

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        """Build the block; the shortcut is a 1x1 convolution where shapes differ."""
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.downsample: nn.Module | None = None
        if stride != 1 or c_in != c_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c_in, H, W) to (B, c_out, H/stride, W/stride)."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return F.relu(out + (x if self.downsample is None else self.downsample(x)))


class ResNet18CIFAR(nn.Module):
    """The CIFAR variant of ResNet-18, for images of about 32x32 pixels, with He initialisation."""

    def __init__(self, *, num_classes: int = 10, in_channels: int = 3, width: int = 64) -> None:
        """Build it; stage i has ``width`` x 2^i channels."""
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = _stage(width, width, stride=1)
        self.layer2 = _stage(width, 2 * width, stride=2)
        self.layer3 = _stage(2 * width, 4 * width, stride=2)
        self.layer4 = _stage(4 * width, 8 * width, stride=2)
        self.fc = nn.Linear(8 * width, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, K) of images (B, C, H, W)."""
        out = F.relu(self.bn1(self.conv1(x)))  # (B, width, H, W)
        out = self.layer4(self.layer3(self.layer2(self.layer1(out))))  # (B, 8*width, H/8, W/8)
        logits: Tensor = self.fc(out.mean((2, 3)))
        return logits


def _stage(c_in: int, c_out: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(BasicBlock(c_in, c_out, stride), BasicBlock(c_out, c_out, 1))
