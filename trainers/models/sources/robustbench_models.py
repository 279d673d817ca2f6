"""RobustBench's classifiers by name, through its own loader."""

import sys
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from attacks.errors import RefusedInput
from trainers.models.sources.named_model import (
    NamedModel,
    check_rgb,
    import_package,
    published_weights,
)

DATASETS = {10: "cifar10", 100: "cifar100", 1000: "imagenet"}  # by how many classes they have
INSTALL = "robustbench 'setuptools<81'"  # the last that have the pkg_resources it imports
NORMS = {"linf": "Linf", "l2": "L2", "corruptions": "corruptions"}


def import_robustbench(needed_by: str) -> ModuleType:
    """Import RobustBench's loader, or refuse with the command that installs it.

    It imports AutoAttack as ``autoattack``, and depends on a package that has it under another
    name, ``pyautoattack``.
    """
    with ExitStack() as stack:
        if find_spec("autoattack") is None and find_spec("pyautoattack") is not None:
            stack.callback(sys.modules.pop, "autoattack", None)
            sys.modules["autoattack"] = import_package(
                "pyautoattack", needed_by=needed_by, install=INSTALL
            )
        return import_package("robustbench.utils", needed_by=needed_by, install=INSTALL)


def build_robustbench(name: str, *, num_classes: int | None, in_channels: int) -> NamedModel:
    """Load a classifier of RobustBench; what normalises is part of it.

    The number of classes tells the data set: 10 CIFAR-10, 100 CIFAR-100, 1000 ImageNet. Weights
    are kept in the folder ``robustbench`` below that of ``torch.hub``.

    Args:
        name: ``robustbench:NAME``, or ``robustbench:NAME@THREAT`` with one of ``NORMS``; Linf
            where none is named.
        num_classes: K; None takes CIFAR-10.
        in_channels: 3.

    Raises:
        ValueError: for a threat model that does not exist, or samples that are not RGB.
        RefusedInput: when RobustBench is missing or has no such classifier, or the weights
            cannot be had.
    """
    base, _, chosen = name.removeprefix("robustbench:").partition("@")
    norm = NORMS.get(chosen.lower() or "linf")
    if norm is None:
        raise ValueError(
            f"RobustBench has no threat model {chosen!r}; allowed: "
            f"{', '.join(f'robustbench:{base}@{each}' for each in NORMS.values())}"
        )
    check_rgb(name, in_channels)
    zoo = import_robustbench(name)
    dataset = DATASETS.get(num_classes or 10)
    _check_known(zoo, name, base, dataset, norm)
    folder = Path(torch.hub.get_dir(), "robustbench")
    advice = (
        f"run this once where there is a network, and copy what it puts into {folder}; remove a "
        "file there that is damaged"
    )
    with published_weights(f"the weights of {name}", advice):
        model: nn.Module = zoo.load_model(
            model_name=base, model_dir=folder, dataset=dataset, threat_model=norm
        )
    return NamedModel(model, trained=True)


def robustbench_names(zoo: ModuleType) -> list[tuple[str, str, str]]:
    """List name, data set and threat model of every classifier."""
    tables: Any = zoo.all_models
    return sorted(
        (name, dataset.value, norm.value)
        for dataset, norms in tables.items()
        for norm, names in norms.items()
        for name in names
    )


def _check_known(zoo: ModuleType, name: str, base: str, dataset: str | None, norm: str) -> None:
    """Refuse what RobustBench does not have, and say for what it has the name."""
    known = robustbench_names(zoo)
    if (base, dataset, norm) in known:
        return
    others = [f"{base}@{n} of {d}" for each, d, n in known if each == base]
    has = f"it has {', '.join(others)}" if others else "`models robustbench:` lists its names"
    raise RefusedInput(
        f"RobustBench has no {base}@{norm} of {dataset or 'data with so many classes'}, which the "
        f"number of classes tells ({', '.join(f'{n}: {d}' for n, d in DATASETS.items())}); {has}"
    )
