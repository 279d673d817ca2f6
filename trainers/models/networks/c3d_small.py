"""A small C3D, made for two cores: clips of 16 frames of 16x16 to 64x64 pixels and more."""

import torch.nn.functional as F
from torch import Tensor, nn

from trainers.models.networks.clips import check_clips


class C3DSmall(nn.Module):
    """Four 3x3x3 convolutions with norms, then a linear layer on a 2x2 grid of maxima.

    The first convolution sees every frame (its stride in time is 1) and every second pixel, which
    is where most of the time of a full-size one would go. It has 182 thousand parameters, and takes
    0.8 GFLOPs for 16 frames of 64x64 pixels.

    Source: Tran et al. 2015, whose 3x3x3 kernels and late pooling in time these are.
    """

    def __init__(self, *, num_classes: int = 4, in_channels: int = 3, width: int = 16) -> None:
        """Build it, with ``width``, 2 x ``width`` and twice 4 x ``width`` channels."""
        super().__init__()
        # The first norm is of the clip itself, as in IBN-Net (Pan et al. 2018): it takes out the
        # light and the colour of the scene, by which a network fitted on few people knows them.
        own = nn.InstanceNorm3d(width, affine=True)
        self.stage1 = _stage(in_channels, width, norm=own, stride=(1, 2, 2))
        self.stage2 = _stage(width, 2 * width, norm=nn.BatchNorm3d(2 * width))
        self.stage3 = _stage(2 * width, 4 * width, norm=nn.BatchNorm3d(4 * width))
        self.stage4 = _stage(4 * width, 4 * width, norm=nn.BatchNorm3d(4 * width))
        self.head = nn.Linear(4 * 4 * width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, K) of clips (B, C, T, H, W)."""
        check_clips(x, "c3d-small", frames=4, side=8)
        x = self.stage1(x)  # (B, width, T, H/2, W/2)
        x = F.max_pool3d(self.stage2(x), 2)  # (B, 2 width, T/2, H/4, W/4)
        x = F.max_pool3d(self.stage3(x), 2)  # (B, 4 width, T/4, H/8, W/8)
        x = self.stage4(x).mean(2)  # (B, 4 width, H/8, W/8)
        x = F.adaptive_max_pool2d(x, 2)  # (B, 4 width, 2, 2)
        logits: Tensor = self.head(x.flatten(1))
        return logits


def _stage(
    c_in: int, c_out: int, *, norm: nn.Module, stride: tuple[int, int, int] = (1, 1, 1)
) -> nn.Sequential:
    return nn.Sequential(nn.Conv3d(c_in, c_out, 3, stride, padding=1, bias=False), norm, nn.ReLU())
