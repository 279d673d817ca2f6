"""``load_classifier``: a classifier by name, with weights read safely and checked before use.

A name is one of

- ours: for images ``smallcnn``, ``resnet18-cifar``, ``preactresnet18``, ``preactresnet18-silu``,
  ``wrn-28-10`` (or any ``wrn-DEPTH-WIDTH``) and ``dense-memory``, for videos ``c3d-small``,
  ``lrcn``, ``c3d`` and ``i3d``;
- ``zoo:NAME``: robust weights of ours that are part of the package;
- a constructor of ``torchvision.models`` or ``torchvision.models.video``, with published weights as
  ``NAME@WEIGHTS``, such as ``resnet50@IMAGENET1K_V2`` or ``resnet50@DEFAULT``;
- ``efficientnet-lite0``, ``1`` or ``2``, with ImageNet weights (the extra ``imagenet``);
- ``timm:NAME`` and ``timm:NAME@pretrained``, ``robustbench:NAME`` and ``robustbench:NAME@L2``, of
  the packages timm and robustbench;
- your own ``path/to/file.py:factory`` or ``package.module:factory``, called with ``num_classes``
  and ``in_channels`` if it takes them.

Those with published weights, timm's, ``i3d`` and torchvision's video networks come with the
normalisation they were trained with.
"""

import logging
import operator
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from attacks.errors import RefusedInput
from trainers.models.binary_logits import BinaryLogits
from trainers.models.factory import build
from trainers.models.normalize import Normalize
from trainers.models.probe import probe_classifier
from trainers.models.sources.named_model import NamedModel
from trainers.models.weights.fill import Filled, class_count, fill, short, wrap
from trainers.models.weights.weights import Checkpoint, read_checkpoint

log = logging.getLogger(__name__)
_NAMED = 5  # names that the log lists of what was left


def load_classifier(
    name: str,
    *,
    num_classes: int | None = None,
    weights: str | Path | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    in_channels: int = 3,
    image_size: int | Sequence[int] | None = None,
    binary: bool = False,
    device: str | torch.device = "cpu",
) -> nn.Module:
    """Build a classifier of samples in [0, 1], load its weights and check both.

    Args:
        name: which one; see this module.
        num_classes: K; None takes the number in ``weights``, else the factory's default.
        weights: a safetensors file or what ``torch.save`` wrote, a state dict or a training
            checkpoint; nothing in it is ever executed. They replace those that a name brings.
        mean: per channel, for a ``Normalize`` in front; our own checkpoints carry theirs.
        std: per channel, above 0.
        in_channels: channels of the samples.
        image_size: side, (H, W) or (T, H, W); when known, one forward pass checks the model.
        binary: the network has a single logit z; the classifier returns [0, z].
        device: where to put the model.

    Returns:
        The classifier in eval mode, mapping (B, C, ...) to logits (B, K).

    Raises:
        ValueError: for an unknown name or an impossible combination.
        RefusedInput: for weights or a model that are unsafe, broken or do not fit.

    >>> load_classifier("smallcnn", in_channels=1)(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """
    _check_count("num_classes", 1 if num_classes is None else num_classes)
    _check_count("in_channels", in_channels)
    normalize = _given_normalize(mean, std, in_channels)
    if binary and num_classes not in (None, 2):
        raise ValueError(
            f"binary is for two classes and num_classes is {num_classes}; give data of two, or "
            "leave binary out"
        )
    outputs = 1 if binary else num_classes
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    shape = None if size is None else (in_channels, *size)
    checkpoint = None if weights is None else read_checkpoint(weights)
    named = build(name, num_classes=outputs, in_channels=in_channels, image_size=size)
    model = named.network
    if checkpoint is not None:
        count = class_count(model, checkpoint.state) if outputs is None else None
        if count is not None and not named.trained:
            model = build(name, num_classes=count, in_channels=in_channels, image_size=size).network
        filled = fill(model, checkpoint.state, source=weights)
        normalize = _agreed(normalize, filled.normalize, in_channels, weights)
        _report(checkpoint, filled, weights)
    elif named.trained:
        if normalize is not None:
            own = named.normalize or Normalize([0.0], [1.0])
            _agreed(normalize, own, in_channels, name)
        normalize = named.normalize
        _report_training(name, named)
    model = wrap(model, normalize or named.normalize)
    model = (BinaryLogits(model) if binary else model).to(device).eval()
    if shape:
        probe_classifier(model, shape, num_classes)
    return model


def _check_count(option: str, value: object) -> None:
    whole = hasattr(value, "__index__") and not isinstance(value, bool)
    if not whole or operator.index(value) < 1:  # type: ignore[arg-type]
        raise ValueError(f"{option} is {value!r}; give a whole number, at least 1")


def _given_normalize(
    mean: Sequence[float] | None, std: Sequence[float] | None, in_channels: int
) -> Normalize | None:
    if mean is None and std is None:
        return None
    if mean is None or std is None:
        raise ValueError(f"mean is {mean} and std {std}; give both or neither")
    if not (hasattr(mean, "__len__") and hasattr(std, "__len__")):
        raise ValueError(f"mean is {mean!r} and std {std!r}; give lists, one value a channel")
    if max(mean, default=0) > 1:
        raise ValueError(
            f"mean is {list(mean)} and pixels lie in [0, 1]; of statistics of bytes, divide both "
            "mean and std by 255"
        )
    if len(mean) not in (1, in_channels):
        raise ValueError(f"mean has {len(mean)} values for {in_channels} channels; give as many")
    return Normalize(mean, std)


def _agreed(
    given: Normalize | None, stored: Normalize | None, in_channels: int, source: object
) -> Normalize | None:
    """Choose between the user's statistics and the checkpoint's, which must not differ."""
    if stored is not None and len(stored.mean) not in (1, in_channels):
        raise RefusedInput(
            f"{source} normalises {len(stored.mean)} channels and the samples have {in_channels}; "
            "give weights for samples of this kind"
        )
    if given is None or stored is None:
        return given or stored
    for name in ("mean", "std"):
        ours, theirs = getattr(given, name), getattr(stored, name)
        if ours.shape != theirs.shape or not torch.allclose(ours, theirs):
            raise ValueError(
                f"{name} is {ours.tolist()}, and {source} was trained with {theirs.tolist()}; "
                f"leave --{name} out"
            )
    return stored


def _report_training(name: str, named: NamedModel) -> None:
    """Say how samples looked that a name's own weights were trained on."""
    size = f" on samples of {'x'.join(map(str, named.size))}" if named.size else ""
    norm = ""
    if named.normalize:
        mean, std = ([round(v, 4) for v in b.tolist()] for b in named.normalize.buffers())
        norm = f", normalised by {mean} and {std}"
    log.info("%s: weights that were trained%s%s", name, size, norm)


def _report(checkpoint: Checkpoint, filled: Filled, source: object) -> None:
    """Say in one line what was taken of a file and what was left, where that is not all."""
    left = [*checkpoint.left, *filled.left]
    if not (left or checkpoint.place or filled.prefix):
        return
    where = "".join(f"[{name!r}]" for name in checkpoint.place)
    under = f" under {filled.prefix!r}" if filled.prefix else ""
    layer = filled.normalize
    norm = f", normalised by {layer.mean.tolist()} and {layer.std.tolist()}" if layer else ""
    more = f", ... ({len(left)} in all)" if len(left) > _NAMED else ""
    log.info(
        "%s: took %d tensors of its state dict%s%s%s; left %s",
        source,
        filled.count,
        where,
        under,
        norm,
        f"{', '.join(map(short, left[:_NAMED]))}{more}" if left else "nothing",
    )
