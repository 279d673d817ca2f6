"""Options whose types say which values they may have, and the base class that checks them."""

import math
import types
from collections.abc import Callable
from dataclasses import Field, dataclass, fields
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from torch import Tensor

from attacks.common.threat import check_radius

MOST = 2**63  # of a whole number
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
