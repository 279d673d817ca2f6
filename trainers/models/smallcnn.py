"""A small convolutional classifier for samples of 8x8 pixels and more."""

from torch import Tensor, nn


def _block(c_in: int, c_out: int) -> list[nn.Module]:
    return [nn.Conv2d(c_in, c_out, 3, padding=1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU()]


class SmallCNN(nn.Module):
    """Three 3x3 convolutions and one linear layer on a 2x2 grid of means."""

    def __init__(self, num_classes: int, in_channels: int, width: int) -> None:
        """Build it; the later convolutions have 1.5 x ``width`` channels."""
        super().__init__()
        wide = width * 3 // 2
        self.features = nn.Sequential(
            *_block(in_channels, width),  # (B, width, H, W)
            *_block(width, wide),
            nn.MaxPool2d(2),  # (B, wide, H/2, W/2)
            *_block(wide, wide),
            nn.AdaptiveAvgPool2d(2),  # (B, wide, 2, 2)
        )
        self.head = nn.Linear(4 * wide, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, K) of images (B, C, H, W)."""
        logits: Tensor = self.head(self.features(x).flatten(1))
        return logits


def smallcnn(*, num_classes: int = 10, in_channels: int = 3, width: int = 32) -> nn.Module:
    """Build the small CNN."""
    return SmallCNN(num_classes, in_channels, width)
