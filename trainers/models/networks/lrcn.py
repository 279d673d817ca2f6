"""LRCN: a 2-D convolutional network looks at every frame, an LSTM at what it saw."""

from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainers.models.networks.clips import check_clips

_LARGE = 32  # pixels of the shorter side


class FrameCNN(nn.Module):
    """Three 3x3 convolutions, then a 2x2 grid of maxima: what a frame shows, and roughly where.

    The first norm is of the frame itself (Pan et al. 2018, IBN-Net), which takes out the light
    and the colour of the scene, by which a network fitted on few people knows them.
    """

    def __init__(self, in_channels: int, width: int) -> None:
        """Build it, with ``width``, 2 x ``width`` and 4 x ``width`` channels."""
        super().__init__()
        own = nn.InstanceNorm2d(width, affine=True)
        self.stage1 = _stage(in_channels, width, norm=own, stride=2)
        self.stage2 = _stage(width, 2 * width, norm=nn.BatchNorm2d(2 * width))
        self.stage3 = _stage(2 * width, 4 * width, norm=nn.BatchNorm2d(4 * width))

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to what they show, (N, 16 x width)."""
        large = min(x.shape[-2:]) >= _LARGE
        x = self.stage1(x)  # (N, width, H/2, W/2)
        x = F.max_pool2d(x, 2) if large else x  # (N, width, H/4, W/4) of large images
        x = F.max_pool2d(self.stage2(x), 2)  # (N, 2 width, H/8, W/8), small ones H/4, W/4
        x = F.adaptive_max_pool2d(self.stage3(x), 2)  # (N, 4 width, 2, 2)
        return x.flatten(1)


class LRCN(nn.Module):
    """A small CNN for each frame, an LSTM over the frames, and a linear layer on its last state.

    The last state has seen every frame, and few frames can change it; the mean over time of
    bounded states, Donahue's answer, hardly moves with them. So that it remembers, the forget
    gates begin with a bias of 1 (Jozefowicz et al. 2015). What the LSTM is given is normalised
    (Ba et al. 2016), for it is large and never negative, which drives gates to where they learn
    little. It has 107 thousand parameters, and takes 0.1 GFLOPs for 16 frames of 64x64 pixels.

    Source: Donahue et al. 2015, fig. 1 (CNN and LSTM); Ng et al. 2015, section 3.2 (last state).
    """

    def __init__(self, *, num_classes: int = 4, in_channels: int = 3, width: int = 16) -> None:
        """Build it; the LSTM has 4 x ``width`` cells."""
        super().__init__()
        self.cnn = FrameCNN(in_channels, width)
        self.norm = nn.LayerNorm(16 * width)
        self.lstm = nn.LSTM(16 * width, 4 * width, batch_first=True)
        with torch.no_grad():  # the forget gates come second of four
            for name, value in (("bias_ih_l0", 1), ("bias_hh_l0", 0)):
                self.lstm.get_parameter(name)[4 * width : 8 * width] = value
        self.head = nn.Linear(4 * width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, K) of clips (B, C, T, H, W)."""
        check_clips(x, "lrcn", frames=1, side=8)
        b, t = x.shape[0], x.shape[2]
        frames = x.transpose(1, 2).flatten(0, 1)  # (B*T, C, H, W), frames of a clip in a row
        seen = self.norm(self.cnn(frames)).view(b, t, -1)  # (B, T, F)
        # In eval mode cuDNN's LSTM refuses an input gradient.
        wanted = torch.is_grad_enabled() and seen.requires_grad and not self.lstm.training
        refused = wanted and seen.is_cuda
        with torch.backends.cudnn.flags(enabled=False) if refused else nullcontext():
            states, _ = self.lstm(seen)  # (B, T, 4 width)
        logits: Tensor = self.head(states[:, -1])
        return logits


def _stage(c_in: int, c_out: int, *, norm: nn.Module, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, stride, padding=1, bias=False), norm, nn.ReLU())
