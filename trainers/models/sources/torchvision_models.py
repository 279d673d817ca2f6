"""torchvision's constructors by name, and the check that torchvision works at all."""

from collections.abc import Sequence
from importlib import import_module, metadata
from operator import lt
from types import ModuleType
from typing import Any

from torch import nn

from attacks.errors import RefusedInput
from trainers.models.normalize import Normalize


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


def build_torchvision(name: str, *, num_classes: int | None, in_channels: int) -> nn.Module:
    """Build one of ``torchvision_names`` with fresh weights (never a download).

    Raises:
        ValueError: when the samples are not RGB, for these networks take nothing else.
    """
    if in_channels != 3:
        raise ValueError(
            f"{name} takes 3 channels and the samples have {in_channels}; use smallcnn, "
            "resnet18-cifar, for videos c3d-small or lrcn, or your own factory "
            "(path/to/file.py:factory)"
        )
    options: dict[str, object] = {} if num_classes is None else {"num_classes": num_classes}
    model: nn.Module = import_torchvision().models.get_model(name, weights=None, **options)
    return model


def video_normalize(name: str) -> Normalize | None:
    """Make the normalisation that a network of ``torchvision.models.video`` was trained with.

    None for any other network.
    """
    weights = _video_weights(name)
    if weights is None:
        return None
    preset = weights.transforms()
    return Normalize(preset.mean, preset.std)


def check_video_size(name: str, size: Sequence[int]) -> None:
    """Refuse samples that a network of ``torchvision.models.video`` does not take.

    Args:
        name: of any network; others than these take what they take.
        size: (T, H, W) of clips, (H, W) of images.

    Raises:
        RefusedInput: when they are images, too small or, for a transformer, of another size.
    """
    weights = _video_weights(name)
    if weights is None:
        return
    least = (weights.meta.get("min_temporal_size", 1), *weights.meta["min_size"])
    exact = name.startswith("mvit")  # its position encoding is of one size
    if len(size) != 3 or any(map(lt, size, least)) or (exact and tuple(size) != least):
        raise RefusedInput(
            f"{name} takes clips of {'' if exact else 'at least '}{least[0]} frames of "
            f"{least[1]}x{least[2]} pixels and the samples are {'x'.join(map(str, size))}; give "
            "others (--size), or a model such as c3d-small for videos and smallcnn for images"
        )


def _video_weights(name: str) -> Any:
    """Return the description of a video network's weights, which are not fetched; else None."""
    models = import_torchvision().models
    known = name in models.list_models(models.video)
    return models.get_model_weights(name).DEFAULT if known else None


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "(not installed)"
