"""The networks of ours by the names that the command line takes."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

from torch import nn
from torch.nn.functional import silu

from trainers.models.call_factory import call_factory
from trainers.models.networks.c3d import C3D
from trainers.models.networks.c3d_small import C3DSmall
from trainers.models.networks.dense_memory import DenseMemory
from trainers.models.networks.i3d import I3D
from trainers.models.networks.lrcn import LRCN
from trainers.models.networks.preact_resnet import PreActResNet18
from trainers.models.networks.resnet_cifar import ResNet18CIFAR
from trainers.models.networks.smallcnn import SmallCNN
from trainers.models.networks.wide_resnet import WideResNet

OURS: dict[str, Callable[..., nn.Module]] = {
    "smallcnn": SmallCNN,
    "resnet18-cifar": ResNet18CIFAR,
    "preactresnet18": PreActResNet18,
    "preactresnet18-silu": partial(PreActResNet18, activation=silu),
    "wrn-28-10": WideResNet,  # and wrn-DEPTH-WIDTH of any other
    "dense-memory": DenseMemory,
    "c3d-small": C3DSmall,
    "lrcn": LRCN,
    "i3d": I3D,
    "c3d": C3D,
}
_WIDE = re.compile(r"wrn-(\d{1,4})-(\d{1,4})")


def is_ours(name: str) -> bool:
    """Tell whether a network of ours has a name.

    >>> is_ours("wrn-16-4"), is_ours("resnet50")
    (True, False)
    """
    return name in OURS or _WIDE.fullmatch(name) is not None


def build_ours(
    name: str, *, num_classes: int | None, in_channels: int, image_size: Sequence[int] | None
) -> nn.Module:
    """Build a network of ours with fresh weights.

    Args:
        name: one that `is_ours`.
        num_classes: K; None takes the network's default.
        in_channels: C.
        image_size: (H, W) or (T, H, W), when known; for networks that take one size alone.

    Raises:
        ValueError: for a WideResNet of an impossible depth or width.
    """
    factory = OURS.get(name)
    if factory is None:
        depth, width = map(int, cast(re.Match[str], _WIDE.fullmatch(name)).groups())
        factory = partial(WideResNet, depth=depth, widen_factor=width)
    model = call_factory(
        factory, num_classes=num_classes, in_channels=in_channels, image_size=image_size
    )
    return cast(nn.Module, model)
