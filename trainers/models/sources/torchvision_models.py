"""torchvision's classifiers and published weights by name; the check that torchvision works."""

import sys
from collections.abc import Sequence
from importlib import import_module, metadata
from operator import lt
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlparse

import torch
from torch import nn

from attacks.errors import RefusedInput
from trainers.models.normalize import Normalize
from trainers.models.sources.named_model import (
    NamedModel,
    check_class_count,
    check_rgb,
    published_weights,
)


def import_torchvision() -> ModuleType:
    """Import torchvision, or say how to repair the installation.

    A CPU-only torch beside the registry's torchvision (built for CUDA) fails at import with an
    error about a missing operator, which says nothing to who has not seen it before.

    Raises:
        RefusedInput: when torchvision is missing or does not fit the installed torch.
    """
    try:
        return import_module("torchvision")
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        raise RefusedInput(
            f"torchvision {_version('torchvision')} does not work beside torch "
            f"{_version('torch')} ({error}); the two have to come from one index: reinstall both "
            "with 'pip install --force-reinstall torch torchvision', for a CPU-only torch with "
            "'--index-url https://download.pytorch.org/whl/cpu' added"
        ) from error


def torchvision_names() -> list[str]:
    """List the classifiers of ``torchvision.models`` and ``torchvision.models.video``."""
    models = import_torchvision().models
    return sorted({*models.list_models(models), *models.list_models(models.video)})


def published_weights_of(name: str) -> dict[str, Any]:
    """Return the weights of a classifier that torchvision publishes, by name; none is fetched."""
    weights = import_torchvision().models.get_model_weights(name)
    return {
        each.name: each for each in weights if each.meta["categories"]
    }  # VGG16 has features too


def build_torchvision(
    name: str, *, num_classes: int | None, in_channels: int, image_size: Sequence[int] | None
) -> NamedModel:
    """Build a classifier of torchvision, with fresh weights or with published ones.

    Args:
        name: one of ``torchvision_names``, or ``NAME@WEIGHTS`` such as
            ``resnet50@IMAGENET1K_V2`` or ``resnet50@DEFAULT``: weights that torchvision fetches
            once, into the folder of ``torch.hub``, and checks by their hash.
        num_classes: K; None takes that of the weights or torchvision's default.
        in_channels: 3, for these networks take nothing else.
        image_size: (H, W) or (T, H, W), when known.

    Raises:
        ValueError: when the samples are not RGB, or for weights that do not exist.
        RefusedInput: when the samples or the classes are no match, or the weights cannot be had.
    """
    base, mark, chosen = name.partition("@")
    check_rgb(base, in_channels)
    models = import_torchvision().models
    weights = _weights(base, chosen) if mark else None
    normalize = None
    if weights is not None or base in models.list_models(models.video):
        described = weights or models.get_model_weights(base).DEFAULT
        normalize = _normalize(described)
        if image_size and base in models.list_models(models.video):
            _check_video_size(base, described, image_size)
    if weights is None:
        options: dict[str, object] = {} if num_classes is None else {"num_classes": num_classes}
        return NamedModel(models.get_model(base, weights=None, **options), normalize)
    check_class_count(name, len(weights.meta["categories"]), num_classes)
    height, *width = weights.transforms().crop_size
    network = _fetched(base, name, weights)
    return NamedModel(network, normalize, trained=True, size=(height, *(width or [height])))


def _weights(base: str, chosen: str) -> Any:
    """Return the description of weights, which are not fetched."""
    known = published_weights_of(base)
    if chosen == "DEFAULT":
        return import_torchvision().models.get_model_weights(base).DEFAULT
    if chosen not in known:
        raise ValueError(
            f"torchvision has no weights {chosen!r} for {base}; allowed: "
            f"{', '.join(f'{base}@{each}' for each in (*known, 'DEFAULT'))}"
        )
    return known[chosen]


def _fetched(base: str, name: str, weights: Any) -> nn.Module:
    """Let torchvision build a network around its weights, which it fetches unless they are there.

    Some are built otherwise with weights than without: GoogLeNet changes its input, ViT its size.
    """
    file = Path(torch.hub.get_dir(), "checkpoints", Path(urlparse(weights.url).path).name)
    advice = f"fetch {weights.url} on a machine with a network and put it on this one as {file}"
    if file.exists():
        advice = f"remove {file}, which is damaged or not what it should be, to have it fetched"
    with published_weights(f"the weights of {name}", advice):
        model: nn.Module = import_torchvision().models.get_model(
            base, weights=weights, progress=sys.stderr.isatty()
        )
    return model


def _normalize(weights: Any) -> Normalize:
    """Make the normalisation that weights were trained with."""
    preset = weights.transforms()
    return Normalize(preset.mean, preset.std)


def _check_video_size(name: str, weights: Any, size: Sequence[int]) -> None:
    """Refuse samples that a network of ``torchvision.models.video`` does not take.

    Args:
        name: of the network.
        weights: the description of its weights.
        size: (T, H, W) of clips, (H, W) of images.

    Raises:
        RefusedInput: when they are images, too small or, for a transformer, of another size.
    """
    least = (weights.meta.get("min_temporal_size", 1), *weights.meta["min_size"])
    exact = name.startswith("mvit")  # its position encoding is of one size
    if len(size) != 3 or any(map(lt, size, least)) or (exact and tuple(size) != least):
        raise RefusedInput(
            f"{name} takes clips of {'' if exact else 'at least '}{least[0]} frames of "
            f"{least[1]}x{least[2]} pixels and the samples are {'x'.join(map(str, size))}; give "
            "others (--size), or a model such as c3d-small for videos and smallcnn for images"
        )


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "(not installed)"
