"""WideResNet for images of about 32x32 pixels: few layers, many channels."""

import torch.nn.functional as F
from torch import Tensor, nn


class WideBlock(nn.Module):
    """Two 3x3 convolutions, each behind its norm and ReLU, around a shortcut.

    Where channels differ, norm and ReLU come before the branches part, and the shortcut is a 1x1
    convolution.

    Source: Zagoruyko & Komodakis 2016, fig. 1a.
    """

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        """Build the block."""
        super().__init__()
        self.bn1 = nn.BatchNorm2d(c_in)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1, bias=False)
        self.convShortcut: nn.Module | None = None
        if c_in != c_out:
            self.convShortcut = nn.Conv2d(c_in, c_out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c_in, H, W) to (B, c_out, H/stride, W/stride)."""
        out = F.relu(self.bn1(x))
        shortcut = x if self.convShortcut is None else self.convShortcut(out)
        out = self.conv2(F.relu(self.bn2(self.conv1(out))))
        total: Tensor = out + shortcut
        return total


class WideBlocks(nn.Module):
    """A group of blocks, the first of which changes size and channels."""

    def __init__(self, c_in: int, c_out: int, stride: int, count: int) -> None:
        """Build ``count`` blocks."""
        super().__init__()
        rest = (WideBlock(c_out, c_out, 1) for _ in range(count - 1))
        self.layer = nn.Sequential(WideBlock(c_in, c_out, stride), *rest)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c_in, H, W) to (B, c_out, H/stride, W/stride)."""
        out: Tensor = self.layer(x)
        return out


class WideResNet(nn.Module):
    """WRN-depth-widen_factor; its tensors are named as TRADES' and RobustBench's.

    WRN-28-10 has 36.5 million parameters, and takes 10.5 GFLOPs for a 32x32 image.

    Source: Zagoruyko & Komodakis 2016, table 1, with the initialisation of He et al. 2015.
    """

    unused = ("sub_block1.",)  # of TRADES' checkpoints: a group that its forward pass leaves out

    def __init__(
        self,
        *,
        num_classes: int = 10,
        in_channels: int = 3,
        depth: int = 28,
        widen_factor: int = 10,
    ) -> None:
        """Build it.

        Args:
            num_classes: K.
            in_channels: C.
            depth: convolutions on the longest way, 6 n + 4 for n blocks a group.
            widen_factor: multiplies the 16, 32 and 64 channels of the groups.

        Raises:
            ValueError: for another depth, or no width.
        """
        super().__init__()
        if depth < 10 or depth % 6 != 4 or widen_factor < 1:
            raise ValueError(
                f"there is no wrn-{depth}-{widen_factor}: of wrn-DEPTH-WIDTH the depth is 6 n + 4 "
                "(10, 16, 22, 28, 34, 40, ...) and the width at least 1, as in wrn-28-10"
            )
        count = (depth - 4) // 6
        first, second, third = (widen_factor * channels for channels in (16, 32, 64))
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.block1 = WideBlocks(16, first, 1, count)
        self.block2 = WideBlocks(first, second, 2, count)
        self.block3 = WideBlocks(second, third, 2, count)
        self.bn1 = nn.BatchNorm2d(third)
        self.fc = nn.Linear(third, num_classes)
        nn.init.zeros_(self.fc.bias)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, K) of images (B, C, H, W)."""
        out = self.block1(self.conv1(x))  # (B, 16 k, H, W)
        out = self.block3(self.block2(out))  # (B, 64 k, H/4, W/4)
        logits: Tensor = self.fc(F.relu(self.bn1(out)).mean((2, 3)))
        return logits
