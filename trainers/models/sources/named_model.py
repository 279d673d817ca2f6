"""A network by name as its source gives it, and the checks that all sources make."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

from torch import nn

from attacks.errors import RefusedInput
from trainers.models.normalize import Normalize

_WEIGHTS_ONLY = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"  # torch.load reads it at each call


@dataclass(frozen=True)
class NamedModel:
    """A network, before weights of the user's are put into it.

    Attributes:
        network: of samples normalised by ``normalize``, or in [0, 1].
        normalize: what its weights were trained behind, when that is not part of the network.
        trained: whether it comes with weights that somebody trained.
        size: (H, W) or (T, H, W) of the samples these were trained on, where that is known.
    """

    network: nn.Module
    normalize: Normalize | None = None
    trained: bool = False
    size: Sequence[int] = ()


def check_class_count(name: str, has: int, wanted: int | None) -> None:
    """Refuse a classifier with weights for another number of classes.

    Args:
        name: the classifier.
        has: how many classes its weights tell apart.
        wanted: how many are asked for; None for any number.

    Raises:
        RefusedInput: naming both.
    """
    if wanted not in (None, has):
        raise RefusedInput(
            f"{name} tells {has} classes apart and {wanted} are asked for; give --classes FILE "
            "with all of its classes, a line each, or train a model that brings no weights"
        )


def check_rgb(name: str, in_channels: int) -> None:
    """Refuse samples that are not RGB, for a network that takes nothing else.

    Raises:
        ValueError: naming the number of channels.
    """
    if in_channels != 3:
        raise ValueError(
            f"{name} takes 3 channels and the samples have {in_channels}; give --channels 3, or "
            "use smallcnn, resnet18-cifar, for videos c3d-small or lrcn, or your own factory "
            "(path/to/file.py:factory)"
        )


def import_package(name: str, *, needed_by: str, install: str) -> ModuleType:
    """Import an optional package.

    Args:
        name: of the module.
        needed_by: the classifier that is made of it, for the message.
        install: what pip is to install.

    Raises:
        RefusedInput: when it is missing or does not work, with the command that installs it.
    """
    try:
        return import_module(name)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise RefusedInput(
            f"{needed_by} needs the package {name}, which cannot be imported ({reason}); install "
            f"it: python -m pip install {install}"
        ) from error


@contextmanager
def published_weights(what: str, advice: str) -> Iterator[None]:
    """Let a package fetch and read weights in the body, which executes nothing in them.

    Args:
        what: the weights, for the message.
        advice: what to do when they cannot be had.

    Raises:
        RefusedInput: when the body fails, which it does without a network.
    """
    before = os.environ.get(_WEIGHTS_ONLY)
    os.environ[_WEIGHTS_ONLY] = "1"
    try:
        with redirect_stdout(sys.stderr):  # where they say what they download
            yield
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise RefusedInput(f"{what} cannot be had ({reason}); {advice}") from error
    finally:
        if before is None:
            del os.environ[_WEIGHTS_ONLY]
        else:
            os.environ[_WEIGHTS_ONLY] = before
