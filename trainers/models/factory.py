"""From a classifier's name to a network: ours, a package's, or the user's own."""

from collections.abc import Callable, Sequence
from difflib import get_close_matches

from trainers.models.networks.registry import OURS, build_ours, is_ours
from trainers.models.sources.efficientnet_lite import EFFICIENTNETS, build_efficientnet_lite
from trainers.models.sources.named_model import NamedModel
from trainers.models.sources.robustbench_models import build_robustbench
from trainers.models.sources.timm_models import build_timm
from trainers.models.sources.torchvision_models import build_torchvision, torchvision_names
from trainers.models.sources.users import build_users
from trainers.models.sources.zoo import build_zoo, zoo_names

# By what stands before the colon.
SOURCES: dict[str, Callable[..., NamedModel]] = {
    "zoo": build_zoo,
    "timm": build_timm,
    "robustbench": build_robustbench,
}


def is_users(name: str) -> bool:
    """Tell whether a name is of a factory of the user's.

    >>> is_users("net.py:build"), is_users("timm:resnet50")
    (True, False)
    """
    prefix, mark, _ = name.partition(":")
    return bool(mark) and prefix not in SOURCES


def brings_weights(name: str) -> bool:
    """Tell whether a classifier comes with published weights; one of the user's own may as well.

    >>> brings_weights("resnet50@DEFAULT"), brings_weights("resnet50")
    (True, False)
    """
    published = name.startswith(("zoo:", "robustbench:")) or name in EFFICIENTNETS
    return not is_users(name) and (published or "@" in name)


def needs_weights(name: str | None) -> bool:
    """Tell whether a classifier comes untrained, as far as is known; None is our default."""
    return name is None or not (is_users(name) or brings_weights(name))


def build(
    name: str,
    *,
    num_classes: int | None,
    in_channels: int,
    image_size: Sequence[int] | None = None,
) -> NamedModel:
    """Build a classifier, with fresh weights or those that its name stands for.

    Args:
        name: see `load_classifier`.
        num_classes: K; None takes the factory's default.
        in_channels: channels of the samples.
        image_size: (H, W) or (T, H, W), when known.

    Raises:
        ValueError: for an unknown name, or a factory that returns no ``nn.Module``.
        RefusedInput: when the user's code fails, a package is missing, or the classifier does not
            fit the samples.
    """
    prefix, mark, _ = name.partition(":")
    if is_ours(name):
        network = build_ours(
            name, num_classes=num_classes, in_channels=in_channels, image_size=image_size
        )
        return NamedModel(network)
    if name in EFFICIENTNETS:
        return build_efficientnet_lite(name, num_classes=num_classes, in_channels=in_channels)
    if mark and prefix in SOURCES:
        return SOURCES[prefix](name, num_classes=num_classes, in_channels=in_channels)
    if mark:
        return NamedModel(build_users(name, num_classes=num_classes, in_channels=in_channels))
    if name.endswith(".py"):
        raise ValueError(f"model {name!r} names a file alone; name its factory too: {name}:NAME")
    if name.partition("@")[0] in torchvision_names():
        return build_torchvision(
            name, num_classes=num_classes, in_channels=in_channels, image_size=image_size
        )
    raise _unknown(name)


def _unknown(name: str) -> ValueError:
    known = [*OURS, *EFFICIENTNETS, *zoo_names(), *torchvision_names()]
    base, mark, _ = name.partition("@")
    close = get_close_matches(name, known) or get_close_matches(f"zoo:{name}", known)
    close = close or (get_close_matches(base, known) if mark else []) or [*OURS, "resnet50"]
    return ValueError(
        f"unknown model {name!r}; did you mean {', '.join(close)}? Allowed: {', '.join(OURS)}, "
        f"{', '.join(EFFICIENTNETS)}, any of torchvision.models and .models.video, also as "
        "NAME@WEIGHTS, timm:NAME, robustbench:NAME, zoo:NAME, path/to/file.py:factory or "
        "package.module:factory"
    )
