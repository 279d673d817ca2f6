"""Every option of every public dataclass is one that a flag, a package or an example can set."""

import ast
import importlib
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest

from attacks import ATTACKS, FITTED, Architecture, Attack, AttackResult, Perturbation
from augment import ClassicAugmentation, Entry
from compress import BlendWeight, Codec, Coefficients, NetworkConfig, TaskQuantiser
from explain import METHODS, CaptumMethod
from trainers import AttackedBatch, MaskingCheck
from trainers.fit.classifier import FitResult
from trainers.fit.options import FitOptions
from trainers.reconstruction.options import ReconstructionOptions
from trainers.run.cli import config
from trainers.run.cli.jobs import compress, detect, evaluate, explain, network, representation
from trainers.run.cli.numbers import READERS
from trainers.run.cli.specs.attacks import BOOLEANS

ROOT = Path(__file__).parents[1]
FOLDERS = ("attacks", "augment", "compress", "explain", "trainers", "examples")
FLAGS = [
    kind
    for module in (
        config,
        compress,
        detect,
        evaluate,
        explain,
        network,
        representation,
    )
    for name, kind in vars(module).items()
    if name.endswith("Flags") and is_dataclass(kind)
]
# Read from texts: --attack NAME:OPTION=VALUE, --task, --network FORM:OPTION=VALUE, --augmentation.
TEXTS = [
    *dict.fromkeys([*ATTACKS.values(), *FITTED.values(), *METHODS.values(), CaptumMethod]),
    TaskQuantiser, ReconstructionOptions, ClassicAugmentation,
]  # fmt: skip
CALLED = [Architecture, Codec, FitOptions, NetworkConfig]  # made by packages and examples
SAVED = Perturbation.__bases__[0]  # of fitted attacks, which are results and no options
RESULTS = [
    AttackResult, AttackedBatch, Entry, Coefficients, BlendWeight, FitResult, MaskingCheck,
]  # fmt: skip


def trees() -> Iterator[ast.Module]:
    for folder in FOLDERS:
        for file in sorted((ROOT / folder).rglob("*.py")):
            if not file.name.endswith("config.py"):
                yield ast.parse(file.read_text())


@pytest.fixture(scope="module")
def read() -> set[str]:
    """Names of all attributes that are read anywhere."""
    return {n.attr for tree in trees() for n in ast.walk(tree) if isinstance(n, ast.Attribute)}


@pytest.fixture(scope="module")
def given() -> set[tuple[str, str | int]]:
    """Names in the callee, with each keyword and place of an argument, of all calls."""
    found: set[tuple[str, str | int]] = set()
    for tree in trees():
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            callee = call.func
            names = {n.id for n in ast.walk(callee) if isinstance(n, ast.Name)}
            names |= {n.attr for n in ast.walk(callee) if isinstance(n, ast.Attribute)}
            words = [*range(len(call.args)), *(str(word.arg) for word in call.keywords)]
            found |= {(name, word) for name in names for word in words}
    return found


def options(kind: Any) -> list[Field[Any]]:
    return [f for f in fields(kind) if f.init]


def is_text(hint: Any) -> bool:
    """Whether `specs.convert` can read a value of this type, or it names another attack."""
    inner = get_args(hint)
    if get_origin(hint) in (Union, UnionType):
        return any(is_text(kind) for kind in inner if kind is not NoneType)
    if get_origin(hint) is tuple:
        return is_text(inner[0])
    return get_origin(hint) is Literal or hint in READERS or (hint is bool and bool(BOOLEANS))


@pytest.mark.parametrize("kind", FLAGS, ids=lambda kind: kind.__name__)
def test_every_flag_is_read(kind, read):
    passed_on = (
        {f.name for f in options(FitOptions)} if issubclass(kind, config.FitFlags) else set()
    )
    for field in options(kind):
        name = field.name.removeprefix("retrain_")
        assert field.name in read or name in passed_on, f"--{field.name} is read nowhere"


@pytest.mark.parametrize("kind", TEXTS, ids=lambda kind: kind.__name__)
def test_every_option_in_a_text_can_be_written(kind, given):
    hints = get_type_hints(kind)
    for field in options(kind):
        hint = hints[field.name]
        reached = is_text(hint) or hint is Attack or (kind.__name__, field.name) in given
        assert reached, f"{kind.__name__}.{field.name}: no text can say {hint}"


@pytest.mark.parametrize("kind", CALLED, ids=lambda kind: kind.__name__)
def test_every_option_of_what_packages_make_is_given_somewhere(kind, given):
    by_flag = {f.name for flags in FLAGS for f in options(flags)}
    for place, field in enumerate(options(kind)):
        called = not given.isdisjoint({(kind.__name__, field.name), (kind.__name__, place)})
        assert called or field.name in by_flag, f"{kind.__name__}.{field.name}"


def test_no_public_dataclass_is_forgotten():
    known = {*FLAGS, *TEXTS, *CALLED, *RESULTS}
    for package in ("attacks", "augment", "compress", "explain", "trainers"):
        module = importlib.import_module(package)
        for name in module.__all__:
            kind = getattr(module, name)
            if is_dataclass(kind) and isinstance(kind, type) and not issubclass(kind, SAVED):
                made = [f for f in options(kind) if f.default is not MISSING]
                assert kind in known or not made, f"{package}.{name}: say how it is reached"
