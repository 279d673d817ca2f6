"""From a model's name to a model: ours, torchvision's, or the user's own factory."""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from torch import nn

from attacks.errors import RefusedInput
from trainers.models.networks.c3d import C3D
from trainers.models.networks.c3d_small import C3DSmall
from trainers.models.networks.i3d import I3D
from trainers.models.networks.lrcn import LRCN
from trainers.models.networks.resnet_cifar import ResNet18CIFAR
from trainers.models.networks.smallcnn import SmallCNN
from trainers.models.torchvision_models import build_torchvision, torchvision_names

OURS: dict[str, Callable[..., nn.Module]] = {
    "smallcnn": SmallCNN,
    "resnet18-cifar": ResNet18CIFAR,
    "c3d-small": C3DSmall,
    "lrcn": LRCN,
    "i3d": I3D,
    "c3d": C3D,
}


def is_torchvision(name: str) -> bool:
    """Tell whether ``build`` looks for a name in torchvision, which only then is imported."""
    return name not in OURS and ":" not in name and not name.endswith(".py")


def build(name: str, *, num_classes: int | None, in_channels: int) -> nn.Module:
    """Build a classifier with fresh weights.

    Args:
        name: one of ``OURS``, a constructor of ``torchvision.models`` or
            ``torchvision.models.video``, ``path/to/file.py:factory`` or
            ``package.module:factory``.
        num_classes: K; None takes the factory's default.
        in_channels: channels of the samples.

    Raises:
        ValueError: for an unknown name, or a factory that returns no ``nn.Module``.
        RefusedInput: when the user's code fails.
    """
    if name in OURS:
        ours = call_factory(OURS[name], num_classes=num_classes, in_channels=in_channels)
        return cast(nn.Module, ours)
    if ":" in name:
        return _build_users(name, num_classes=num_classes, in_channels=in_channels)
    if name.endswith(".py"):
        raise ValueError(f"model {name!r} names a file alone; name its factory too: {name}:NAME")
    known = torchvision_names()
    if name in known:
        return build_torchvision(name, num_classes=num_classes, in_channels=in_channels)
    close = get_close_matches(name, [*OURS, *known]) or [*OURS, "resnet50"]
    raise ValueError(
        f"unknown model {name!r}; did you mean {', '.join(close)}? Allowed: {', '.join(OURS)}, any "
        "of torchvision.models and .models.video, path/to/file.py:factory or package.module:factory"
    )


def call_factory(factory: Callable[..., Any], *, num_classes: int | None, in_channels: int) -> Any:
    """Call a factory with those of the two arguments that it takes and that are known."""
    parameters = inspect.signature(factory).parameters
    # A module without a constructor of its own shows nn.Module's **kwargs, which takes nothing.
    takes_all = getattr(factory, "__init__", None) is not nn.Module.__init__ and any(
        p.kind is p.VAR_KEYWORD for p in parameters.values()
    )
    options: dict[str, int] = {}
    if num_classes is not None and ("num_classes" in parameters or takes_all):
        options["num_classes"] = num_classes
    if "in_channels" in parameters:
        options["in_channels"] = in_channels
    return factory(**options)


def _build_users(name: str, *, num_classes: int | None, in_channels: int) -> nn.Module:
    where, _, attribute = name.rpartition(":")
    file = Path(where).expanduser().resolve() if where.endswith(".py") else None
    if file and not file.is_file():
        raise ValueError(f"there is no file {where}; give path/to/file.py:factory")
    folder = file.parent if file else Path.cwd()
    with _users_code(where, folder):
        module = _import_file(file) if file else _import_module(where)
    if module is None:
        raise ValueError(
            f"there is no module {where!r} on the path or in {folder}; give "
            "package.module:factory or path/to/file.py:factory"
        )
    factory = getattr(module, attribute, None)
    if not callable(factory) or isinstance(factory, nn.Module):
        raise ValueError(
            f"{where} has no factory {attribute!r} (it defines {_functions(module)}); name a "
            "function or class that returns a torch.nn.Module"
        )
    with _users_code(name, folder):
        model = call_factory(factory, num_classes=num_classes, in_channels=in_channels)
    if not isinstance(model, nn.Module):
        raise ValueError(
            f"the factory {name} returned a {type(model).__name__}; it has to return a "
            "torch.nn.Module"
        )
    return model


@contextmanager
def _users_code(where: str, folder: Path) -> Iterator[None]:
    """Let the user's code in the body import its neighbours; refuse what it fails with."""
    sys.path.insert(0, str(folder))
    try:
        yield
    except (Exception, SystemExit) as error:
        reason = " ".join(str(error).split())[:300]
        raise RefusedInput(
            f"{where} failed with {type(error).__name__}: {reason}; repair it, or see the "
            "traceback with --debug"
        ) from error
    finally:
        sys.path.remove(str(folder))


def _import_file(path: Path) -> ModuleType:
    # A name of its own: two users' files called model.py must not be taken for each other.
    unique = f"_sparring_user_{abs(hash(path))}_{path.stem}"
    spec = importlib.util.spec_from_file_location(unique, path)
    assert spec  # as of every .py
    assert spec.loader
    module = sys.modules[unique] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _import_module(where: str) -> ModuleType | None:
    """Import a module; None when there is no such module, or no package that it would be in."""
    try:
        return importlib.import_module(where)
    except ModuleNotFoundError as error:
        if error.name and f"{where}.".startswith(f"{error.name}."):
            return None
        raise


def _functions(module: ModuleType) -> str:
    names = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
    own = [n for n in names if getattr(module, n).__module__ == module.__name__]
    return ", ".join(own[:8] + ["..."] * (len(own) > 8)) or "none"
