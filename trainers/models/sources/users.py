"""Classifiers of the user's own: a factory in a file or a module."""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from torch import nn

from attacks.errors import RefusedInput
from trainers.models.call_factory import call_factory


def build_users(name: str, *, num_classes: int | None, in_channels: int) -> nn.Module:
    """Build a classifier by a factory of the user's.

    Args:
        name: ``path/to/file.py:factory`` or ``package.module:factory``.
        num_classes: K, given to factories that take it.
        in_channels: C, likewise.

    Raises:
        ValueError: when there is no such factory, or it returns no ``nn.Module``.
        RefusedInput: when the user's code fails.
    """
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
