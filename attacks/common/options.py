"""Options whose types say which values they may have, and the base class that checks them."""

import inspect
import math
import re
import types
from collections.abc import Callable
from dataclasses import Field, dataclass, fields
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from torch import Tensor

from attacks.common.threat import check_radius

MOST = 2**63  # of a whole number
# The section of a docstring, and an option in it with its explanation.
_ARGS = re.compile(r"^Args:\n((?: {4}.*(?:\n|\Z))+)", re.MULTILINE)
_ENTRY = re.compile(r"^ {4}(\w+(?:, \w+)*): (.*(?:\n {8}.*)*)", re.MULTILINE)
_CHECKED = (bool, str, type(None), Tensor)


@dataclass(frozen=True)
class Bound:
    """The numbers that an option may be.

    Attributes:
        allowed: tells whether a number is one of them; NaN and inf are not.
        words: how they are described, behind "a number".
    """

    allowed: Callable[[float], bool]
    words: str


def at_least(low: float) -> Bound:
    """Allow finite numbers from `low` on."""
    return Bound(lambda value: low <= value < math.inf, f">= {low:g}")


def above(low: float) -> Bound:
    """Allow finite numbers above `low`."""
    return Bound(lambda value: low < value < math.inf, f"> {low:g}")


def between(low: float, high: float) -> Bound:
    """Allow `low`, `high`, and the numbers between them."""
    return Bound(lambda value: low <= value <= high, f"from {low:g} to {high:g}")


def inside(low: float, high: float) -> Bound:
    """Allow the numbers between `low` and `high`, neither of the two."""
    return Bound(lambda value: low < value < high, f"in ({low:g}, {high:g})")


Count = Annotated[int, at_least(1)]
Natural = Annotated[int, at_least(0)]
Positive = Annotated[float, above(0)]
NonNegative = Annotated[float, at_least(0)]
Share = Annotated[float, Bound(lambda value: 0 < value <= 1, "in (0, 1]")]
Text = Annotated[str, Bound(bool, "that is not empty")]
BelowOne = Annotated[float, Bound(lambda value: 0 <= value < 1, "in [0, 1)")]


class Options:
    """A dataclass whose values are checked against its annotations when it is built."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __init_subclass__(cls) -> None:
        """Explain in a class's docstring, and so in its `help`, what it inherits; show it briefly.

        The dataclass decorator leaves a `__repr__` that is the class's own alone.
        """
        super().__init_subclass__()
        cls.__doc__ = inherited_docs(cls)
        if "__repr__" not in vars(cls):
            cls.__repr__ = Options.__repr__  # type: ignore[method-assign]

    def __repr__(self) -> str:
        """Return one line: the options; of tensors and of records of a fit how many."""
        own = sorted(fields(self), key=lambda field: field.kw_only is True)  # common ones last
        shown = (f"{f.name}={_brief(getattr(self, f.name))}" for f in own if f.repr)
        return f"{type(self).__name__}({', '.join(shown)})"

    def __post_init__(self) -> None:
        """Raise ValueError naming the first impossible option, its value, and what is allowed."""
        own: Any = type(self)
        for name, kinds in _kinds_by_option(own).items():
            value = getattr(self, name)
            if not any(_is(value, kind) for kind in kinds):
                raise ValueError(f"{name} is {value!r}, of the kind {type(value).__name__}; give "
                                 f"{_described(kinds)}")  # fmt: skip
            if not any(_is(value, kind) and _within(value, kind) for kind in kinds):
                raise ValueError(f"{name} is {value!r}; give {_described(kinds)}")
        check_radius(getattr(self, "norm", "linf"), getattr(self, "eps", None))


def inherited_docs(cls: type) -> str:
    """Return the docstring of a class, with the options of its bases that it does not explain.

    Args:
        cls: the class; its docstring and theirs have a section "Args:" for their options.
    """
    doc = inspect.cleandoc(cls.__doc__ or "")
    known, lines = set(_explained(doc)), []
    for base in cls.__mro__[1:]:
        for name, text in _explained(inspect.cleandoc(vars(base).get("__doc__") or "")).items():
            if name not in known:
                known.add(name)
                lines.append(f"    {name}: {text}")
    if not lines:
        return doc
    whole, end = "\n".join(lines), re.search(r"\n\nSource:|\Z", doc)
    if found := _ARGS.search(doc):
        return f"{doc[: found.end()].rstrip()}\n{whole}\n{doc[found.end() :]}".rstrip()
    assert end is not None  # the end is always there
    return f"{doc[: end.start()]}\n\nArgs:\n{whole}{doc[end.start() :]}"


def _explained(doc: str) -> dict[str, str]:
    """Return the options that a clean docstring explains, by name."""
    found = _ARGS.search(doc)
    entries = _ENTRY.findall(found[1]) if found else []
    return {name: text for names, text in entries for name in names.split(", ")}


def _brief(value: object) -> str:
    """Return a value as text; of what holds tensors or records how many.

    >>> _brief(0.5), _brief([{"loss": 1.0}])
    ('0.5', '1 record')
    """
    if isinstance(value, Tensor):
        return f"tensor of {tuple(value.shape)}" if value.ndim else repr(value.item())
    if isinstance(value, dict):
        return f"{len(value)} tensors"
    if isinstance(value, list | tuple) and value and isinstance(value[0], dict):
        return f"{len(value)} record{'s' * (len(value) > 1)}"
    return repr(value)


@cache
def _kinds_by_option(options: Any) -> dict[str, tuple[Any, ...]]:
    """Return the alternatives of each option's annotation, by name."""
    hints = get_type_hints(options, include_extras=True)
    return {field.name: _alternatives(hints[field.name]) for field in fields(options)}


def _alternatives(hint: Any) -> tuple[Any, ...]:
    union = get_origin(hint) in (types.UnionType, Union)
    return get_args(hint) if union else (hint,)


def _is(value: Any, kind: Any) -> bool:
    """Tell whether a value is of one kind; whole and NumPy's numbers serve as numbers."""
    if get_origin(kind) is Annotated:
        return _is(value, get_args(kind)[0])
    if get_origin(kind) is Literal:
        return isinstance(value, type(get_args(kind)[0]))
    if get_origin(kind) is tuple:
        return isinstance(value, (tuple, list)) and all(_is(v, get_args(kind)[0]) for v in value)
    if kind in (int, float):
        single = not isinstance(value, (bool, Tensor)) and getattr(value, "ndim", 0) == 0
        return (
            single and hasattr(value, "__index__" if kind is int else "__float__") and _held(value)
        )
    return kind not in _CHECKED or isinstance(value, kind)


def _within(value: Any, kind: Any) -> bool:
    """Tell whether a value of one kind is among those allowed."""
    if get_origin(kind) is Annotated:
        return all(bound.allowed(value) for bound in get_args(kind)[1:])
    return get_origin(kind) is not Literal or value in get_args(kind)


def _held(value: Any) -> bool:
    """Tell whether a tensor can hold a number."""
    return not hasattr(value, "__index__") or -MOST < value.__index__() < MOST


def _described(kinds: tuple[Any, ...]) -> str:
    return " or ".join(map(_words, kinds))


def _words(kind: Any) -> str:
    if get_origin(kind) is Annotated:
        base, *bounds = get_args(kind)
        return " ".join([_words(base), *(bound.words for bound in bounds)])
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(repr, get_args(kind)))}"
    if get_origin(kind) is tuple:
        return f"a tuple, {_words(get_args(kind)[0])} each"
    words = {int: "a whole number", float: "a number", bool: "True or False", str: "text"}
    words |= {type(None): "None", Tensor: "a tensor with one for each sample"}
    return words.get(kind, getattr(kind, "__name__", str(kind)))
