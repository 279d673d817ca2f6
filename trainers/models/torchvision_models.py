"""torchvision's constructors by name, and the check that torchvision works at all."""

from importlib import import_module, metadata
from types import ModuleType

from torch import nn

from attacks.errors import RefusedInput


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
            f"{name} takes 3 channels and the samples have {in_channels}; use smallcnn or "
            "resnet18-cifar, or your own factory (path/to/file.py:factory)"
        )
    options: dict[str, object] = {} if num_classes is None else {"num_classes": num_classes}
    model: nn.Module = import_torchvision().models.get_model(name, weights=None, **options)
    return model


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "(not installed)"
