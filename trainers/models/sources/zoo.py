"""The zoo: robust classifiers that were trained here, whose weights are part of the package.

Beside each file of weights, ``NAME.safetensors``, lies its card, ``NAME.json``: the network, the
samples it takes, the command that trained it, and the figures that were measured of it.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from json import loads
from pathlib import Path
from typing import Any

from attacks.errors import RefusedInput
from trainers.models.networks.registry import build_ours
from trainers.models.sources.named_model import NamedModel, check_class_count
from trainers.models.weights.fill import fill
from trainers.models.weights.weights import read_checkpoint

FOLDER = Path(__file__).parents[1] / "zoo"
PREFIX = "zoo:"


def zoo_names() -> list[str]:
    """List the classifiers of the zoo, as ``load_classifier`` takes them."""
    return [f"{PREFIX}{card.stem}" for card in sorted(FOLDER.glob("*.json"))]


def read_card(name: str) -> Mapping[str, Any]:
    """Read the card of a classifier of the zoo.

    Args:
        name: one of ``zoo_names``.

    Raises:
        ValueError: when there is no such classifier.

    >>> read_card("zoo:digits-smallcnn-linf")["model"]
    'smallcnn'
    """
    names = zoo_names()
    if name not in names:
        near = get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ValueError(f"the zoo has no {name!r}; {hint}allowed: {', '.join(names)}")
    card: Mapping[str, Any] = loads((FOLDER / f"{name.removeprefix(PREFIX)}.json").read_text())
    return card


def build_zoo(name: str, *, num_classes: int | None, in_channels: int) -> NamedModel:
    """Build a classifier of the zoo with its weights; half precision becomes float32.

    Args:
        name: one of ``zoo_names``.
        num_classes: K, which has to be the classifier's; None takes it.
        in_channels: C, likewise.

    Raises:
        ValueError: when there is no such classifier.
        RefusedInput: when the samples or the classes are no match.
    """
    card = read_card(name)
    check_class_count(name, card["num_classes"], num_classes)
    if in_channels != card["in_channels"]:
        raise RefusedInput(
            f"{name} takes {card['in_channels']} channels and the samples have {in_channels}; give "
            f"--channels {card['in_channels']}, or data like {card['data']}"
        )
    network = build_ours(
        card["model"],
        num_classes=card["num_classes"],
        in_channels=in_channels,
        image_size=card["image_size"],
    )
    file = FOLDER / f"{name.removeprefix(PREFIX)}.safetensors"
    filled = fill(network, read_checkpoint(file).state, source=file)
    return NamedModel(network, filled.normalize, trained=True, size=card["image_size"])
