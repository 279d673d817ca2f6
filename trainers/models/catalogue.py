"""The table of all that ``--model`` takes, for the command ``models``."""

from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import distributions
from typing import NamedTuple

import torch

from trainers.models.networks.registry import OURS, build_ours
from trainers.models.sources.efficientnet_lite import CLASSES, EFFICIENTNETS
from trainers.models.sources.robustbench_models import (
    INSTALL,
    import_robustbench,
    robustbench_names,
)
from trainers.models.sources.timm_models import import_timm
from trainers.models.sources.torchvision_models import (
    import_torchvision,
    published_weights_of,
    torchvision_names,
)
from trainers.models.sources.zoo import read_card, zoo_names

# What a network of ours takes, C for any number of channels.
INPUTS = {
    "dense-memory": "CxHxW, fixed",
    "c3d-small": "Cx4x8x8 and more",
    "lrcn": "Cx1x8x8 and more",
    "i3d": "Cx9x8x8 and more",
    "c3d": "Cx16x112x112",
}
IMAGES = "CxHxW"
UNKNOWN = ""


class ModelRow(NamedTuple):
    """A line of the table."""

    name: str
    takes: str
    parameters: str
    weights: str


HEAD = ModelRow("NAME", "INPUT", "PARAMETERS", "WEIGHTS")


def list_models(word: str = "") -> str:
    """Return the table of classifiers by name, a line each.

    Args:
        word: list those alone whose names have it; ``timm:`` and ``robustbench:`` list the names of
            these packages, which are many and else not listed.

    Raises:
        ValueError: when there is none.
        RefusedInput: when the package is not installed.
    """
    if word.startswith("timm:"):
        rows = list(_timm_rows())
    elif word.startswith("robustbench:"):
        rows = list(_robustbench_rows())
    else:
        rows = [*_our_rows(), *_zoo_rows(), *_lite_rows(), *_torchvision_rows()]
        rows += [] if word else _other_rows()
    rows = [row for row in rows if word in row.name]
    if not rows:
        raise ValueError(f"no model has {word!r} in its name; `models` lists all")
    widths = [max(map(len, column)) for column in zip(HEAD, *rows, strict=True)]
    lines = (
        f"{row.name:<{widths[0]}}  {row.takes:<{widths[1]}}  {row.parameters:>{widths[2]}}  "
        f"{row.weights}".rstrip()
        for row in (HEAD, *rows)
    )
    return "".join(f"{line}\n" for line in lines)


def _our_rows() -> Iterator[ModelRow]:
    for name in OURS:
        with torch.device("meta"):  # counts, and makes nothing
            model = build_ours(name, num_classes=10, in_channels=3, image_size=None)
        count = sum(p.numel() for p in model.parameters())
        yield ModelRow(name, INPUTS.get(name, IMAGES), f"{count:,}", "none: to be fitted")


def _zoo_rows() -> Iterator[ModelRow]:
    for name in zoo_names():
        card = read_card(name)
        takes = "x".join(map(str, (card["in_channels"], *card["image_size"])))
        robust = f"ours, robust to {card['norm']} {card['eps']} on {card['data']}"
        yield ModelRow(name, takes, f"{card['parameters']:,}", robust)


def _lite_rows() -> Iterator[ModelRow]:
    for name, (side, count) in EFFICIENTNETS.items():
        source = f"ImageNet, {CLASSES} classes, of the extra imagenet"
        yield ModelRow(name, f"3x{side}x{side}", f"{count:,}", source)


def _torchvision_rows() -> Iterator[ModelRow]:
    models = import_torchvision().models
    for name in torchvision_names():
        usual = models.get_model_weights(name).DEFAULT
        sides = list(usual.transforms().crop_size)
        frames = ["T"] if name in models.list_models(models.video) else []
        takes = "x".join(map(str, [3, *frames, *(sides * 2)[:2]]))
        weights = " ".join(f"@{each}" for each in published_weights_of(name))
        yield ModelRow(name, takes, f"{usual.meta['num_params']:,}", f"none, or {weights}")


def _other_rows() -> list[ModelRow]:
    there = {each.name for each in distributions()}

    def row(package: str, weights: str, install: str) -> ModelRow:
        listed = f"`models {package}:` lists the names"
        missing = f"not installed: python -m pip install {install}"
        more = listed if package in there else missing
        return ModelRow(f"{package}:NAME", UNKNOWN, UNKNOWN, f"{weights}; {more}")

    return [
        row("timm", "none, or @pretrained", "timm"),
        row("robustbench", "of RobustBench, or @L2", INSTALL),
        ModelRow("path/file.py:FACTORY", UNKNOWN, UNKNOWN, "your own"),
        ModelRow("package.module:FACTORY", UNKNOWN, UNKNOWN, "your own"),
    ]


def _timm_rows() -> Iterator[ModelRow]:
    timm = import_timm("the list of timm:")
    tags = defaultdict(list)
    for name in timm.list_pretrained():
        base, _, tag = name.partition(".")
        tags[base].append(f".{tag}" if tag else "")
    for base in timm.list_models():
        size = timm.get_pretrained_cfg(base, allow_unregistered=True).input_size
        takes = "x".join(map(str, size))
        weights = f"none, or @pretrained {' '.join(tags[base])}" if base in tags else "none"
        yield ModelRow(f"timm:{base}", takes, UNKNOWN, weights)


def _robustbench_rows() -> Iterator[ModelRow]:
    zoo = import_robustbench("the list of robustbench:")
    for name, dataset, norm in robustbench_names(zoo):
        size = "3x224x224" if dataset == "imagenet" else "3x32x32"
        yield ModelRow(f"robustbench:{name}@{norm}", size, UNKNOWN, f"robust, of {dataset}")
