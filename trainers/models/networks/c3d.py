"""C3D, the full-size network for 16 frames of 112x112 pixels."""

import torch.nn.functional as F
from torch import Tensor, nn

from trainers.models.networks.clips import check_clips


class C3D(nn.Module):
    """Eight 3x3x3 convolutions, five poolings, three linear layers; names as in the usual ports.

    Clips of other sizes are averaged to, or repeated on, the 1x4x4 grid of the first linear layer.
    It has 80 million parameters at 487 classes. Initialisation is He's: without batch norms the
    usual one would let eleven layers fade to nothing.

    Source: Tran et al. 2015, fig. 3.
    """

    def __init__(self, *, num_classes: int = 487, in_channels: int = 3, width: int = 64) -> None:
        """Build it, with ``width`` to 8 x ``width`` channels and 64 x ``width`` hidden units."""
        super().__init__()
        self.conv1 = _convolution(in_channels, width)
        self.conv2 = _convolution(width, 2 * width)
        self.conv3a = _convolution(2 * width, 4 * width)
        self.conv3b = _convolution(4 * width, 4 * width)
        self.conv4a = _convolution(4 * width, 8 * width)
        self.conv4b = _convolution(8 * width, 8 * width)
        self.conv5a = _convolution(8 * width, 8 * width)
        self.conv5b = _convolution(8 * width, 8 * width)
        self.fc6 = nn.Linear(8 * width * 16, 64 * width)
        self.fc7 = nn.Linear(64 * width, 64 * width)
        self.fc8 = nn.Linear(64 * width, num_classes)
        self.dropout = nn.Dropout(0.5)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.kaiming_normal_(parameter, nonlinearity="relu")
            else:
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, K) of clips (B, C, T, H, W)."""
        check_clips(x, "c3d", frames=16, side=16)
        x = F.max_pool3d(F.relu(self.conv1(x)), (1, 2, 2))  # (B, w, T, H/2, W/2)
        x = F.max_pool3d(F.relu(self.conv2(x)), 2)  # (B, 2w, T/2, H/4, W/4)
        x = F.relu(self.conv3b(F.relu(self.conv3a(x))))
        x = F.max_pool3d(x, 2)  # (B, 4w, T/4, H/8, W/8)
        x = F.relu(self.conv4b(F.relu(self.conv4a(x))))
        x = F.max_pool3d(x, 2)  # (B, 8w, T/8, H/16, W/16)
        x = F.relu(self.conv5b(F.relu(self.conv5a(x))))
        x = F.max_pool3d(x, 2, padding=(0, 1, 1))  # (B, 8w, T/16, H/32 + 1/2, W/32 + 1/2)
        x = F.adaptive_avg_pool3d(x, (1, 4, 4))  # (B, 8w, 1, 4, 4)
        x = self.dropout(F.relu(self.fc6(x.flatten(1))))
        x = self.dropout(F.relu(self.fc7(x)))
        logits: Tensor = self.fc8(x)
        return logits


def _convolution(c_in: int, c_out: int) -> nn.Conv3d:
    return nn.Conv3d(c_in, c_out, 3, padding=1)
