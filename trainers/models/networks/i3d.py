"""I3D: Inception-v1 with its filters inflated to three dimensions, for the kinetics checkpoint."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainers.models.networks.clips import check_clips
from trainers.models.networks.recompute import recomputed
from trainers.models.normalize import Normalize

# Values in a batch of clips from which on activations are made again instead of kept: one clip of
# 64 frames of 224x224 pixels, for 1.0 GB instead of 1.5 on a CPU, and 1.4 times the time.
_LARGE = 3 * 64 * 224 * 224


class _BatchNorm(nn.BatchNorm3d):
    """With TensorFlow's epsilon, and without the counter that the checkpoint does not have."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-3)
        self.num_batches_tracked = None

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], *rest: Any
    ) -> None:
        state_dict.pop(f"{prefix}num_batches_tracked", None)
        # Since version 2 torch does not put the counter into files of before there was one.
        super()._load_from_state_dict(state_dict, prefix, local_metadata | {"version": 2}, *rest)


class _Unit(nn.Module):
    """Convolution with TF's padding, BatchNorm, ReLU."""

    def __init__(self, c_in: int, c_out: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        # In steps of one TF pads both sides alike, whatever the size: the convolution can do it.
        own = kernel // 2 if stride == 1 else 0
        self.conv3d = nn.Conv3d(c_in, c_out, kernel, stride, padding=own, bias=False)
        self.batch3d = _BatchNorm(c_out)

    def forward(self, x: Tensor) -> Tensor:
        if max(self.conv3d.stride) > 1:
            x = pad_same(x, self.conv3d.kernel_size, self.conv3d.stride)
        return F.relu(self.batch3d(self.conv3d(x)))


class _Pool(nn.Module):
    """Max-pooling with TF's padding, of what came through a ReLU."""

    def __init__(self, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool3d(pad_same(x, self.kernel, self.stride), self.kernel, self.stride)


class _InceptionBlock(nn.Module):
    """An Inception block: four branches side by side."""

    def __init__(self, c_in: int, channels: Sequence[int]) -> None:
        super().__init__()
        one, reduce3, three, reduce5, five, pooled = channels
        self.branch_0 = _Unit(c_in, one)
        self.branch_1 = nn.Sequential(_Unit(c_in, reduce3), _Unit(reduce3, three, 3))
        self.branch_2 = nn.Sequential(_Unit(c_in, reduce5), _Unit(reduce5, five, 3))
        self.branch_3 = nn.Sequential(nn.MaxPool3d(3, 1, padding=1), _Unit(c_in, pooled))

    def forward(self, x: Tensor) -> Tensor:
        branches = (self.branch_0, self.branch_1, self.branch_2, self.branch_3)
        return torch.cat([branch(x) for branch in branches], 1)


class I3D(nn.Module):
    """Inflated Inception-v1; names as in the PyTorch port of the kinetics checkpoint.

    It maps samples in [0, 1] to the checkpoint's [-1, 1] itself. Where clips are large and an
    input gradient is wanted in eval mode, it makes activations again instead of keeping them.

    It has 12.7 million parameters at 400 classes, and takes 216 GFLOPs for 64 frames of 224x224.

    Source: Carreira & Zisserman 2017, fig. 3.
    """

    def __init__(self, *, num_classes: int = 400, in_channels: int = 3) -> None:
        """Build it, with He initialisation."""
        super().__init__()
        self.normalize: nn.Module = Normalize([0.5], [0.5], persistent=False)
        body = _body(in_channels)
        for name, stage in body.items():
            self.add_module(name, stage)
        self._stages = tuple(body)
        self.dropout = nn.Dropout(0.5)
        self.conv3d_0c_1x1 = nn.ModuleDict({"conv3d": nn.Conv3d(1024, num_classes, 1)})
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, K) of clips (B, C, T, H, W)."""
        check_clips(x, "i3d", frames=9, side=8)
        again = x.numel() >= _LARGE and x.requires_grad and not self.training
        first, *others = map(self.get_submodule, self._stages)
        # The first convolution stays outside: whoever hooks it gets one answer a pass.
        x = first(self.normalize(x))  # (B, 64, T/2, H/2, W/2)
        for stage in others:
            x = recomputed(stage, x) if again else stage(x)  # (B, 1024, T/8, H/32, W/32) at last
        x = F.avg_pool3d(x, (2, min(7, x.shape[3]), min(7, x.shape[4])), 1)
        logits: Tensor = self.conv3d_0c_1x1["conv3d"](self.dropout(x))
        return logits.mean((2, 3, 4))  # (B, K)


def _body(in_channels: int) -> dict[str, nn.Module]:
    """Return the stages in their order; a mixed one has its branches' channels."""
    return {
        "conv3d_1a_7x7": _Unit(in_channels, 64, 7, 2),
        "pool_2a": _Pool((1, 3, 3), (1, 2, 2)),
        "conv3d_2b_1x1": _Unit(64, 64),
        "conv3d_2c_3x3": _Unit(64, 192, 3),
        "pool_3a": _Pool((1, 3, 3), (1, 2, 2)),
        "mixed_3b": _InceptionBlock(192, (64, 96, 128, 16, 32, 32)),
        "mixed_3c": _InceptionBlock(256, (128, 128, 192, 32, 96, 64)),
        "pool_4a": _Pool((3, 3, 3), (2, 2, 2)),
        "mixed_4b": _InceptionBlock(480, (192, 96, 208, 16, 48, 64)),
        "mixed_4c": _InceptionBlock(512, (160, 112, 224, 24, 64, 64)),
        "mixed_4d": _InceptionBlock(512, (128, 128, 256, 24, 64, 64)),
        "mixed_4e": _InceptionBlock(512, (112, 144, 288, 32, 64, 64)),
        "mixed_4f": _InceptionBlock(528, (256, 160, 320, 32, 128, 128)),
        "pool_5a": _Pool((2, 2, 2), (2, 2, 2)),
        "mixed_5b": _InceptionBlock(832, (256, 160, 320, 32, 128, 128)),
        "mixed_5c": _InceptionBlock(832, (384, 192, 384, 48, 128, 128)),
    }


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return how many places TensorFlow adds before and after an axis.

    As many as let ceil(size / stride) windows fit; an odd one goes to the end.

    >>> same_padding(224, 7, 2), same_padding(225, 7, 2), same_padding(8, 2, 2)
    ((2, 3), (3, 3), (0, 0))
    """
    windows = -(-size // stride)
    total = max((windows - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def pad_same(x: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
    """Pad clips (B, C, T, H, W) with zeros for kernels and strides in (T, H, W).

    A max-pooling may follow as well where nothing is below zero, as behind a ReLU.
    """
    sizes = zip(x.shape[2:], kernel, stride, strict=True)
    padding = [same_padding(*size) for size in sizes]
    flat = [count for pair in reversed(padding) for count in pair]  # F.pad begins with the last
    return F.pad(x, flat) if any(flat) else x
