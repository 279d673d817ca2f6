"""Check the types of an attack's options against its annotations."""

import types
from dataclasses import fields
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from torch import Tensor

MOST = 2**63  # of a whole number
_CHECKED = (bool, str, type(None), Tensor)


def check_kinds(options: Any) -> None:
    """Check the options of a dataclass against its annotations.

    Whole numbers serve as numbers, and what NumPy calls a number does, too.

    Args:
        options: an instance of the dataclass.

    Raises:
        ValueError: naming the first option of another kind, its value, and the kinds allowed.
    """
    hints = get_type_hints(type(options))
    for field in fields(options):
        value, hint = getattr(options, field.name), hints[field.name]
        if not _fits(value, hint):
            raise ValueError(
                f"{field.name} is {value!r}, of the kind {type(value).__name__}; give "
                f"{_described(hint)}"
            )


def _alternatives(hint: Any) -> tuple[Any, ...]:
    union = get_origin(hint) in (types.UnionType, Union)
    return get_args(hint) if union else (hint,)


def _fits(value: Any, hint: Any) -> bool:
    return any(_is(value, kind) for kind in _alternatives(hint))


def _is(value: Any, kind: Any) -> bool:
    """Tell whether a value is of one kind of option."""
    if get_origin(kind) is Literal:
        return isinstance(value, str)  # which of them is the attack's own check
    if get_origin(kind) is tuple:
        return isinstance(value, (tuple, list)) and all(_is(v, float) for v in value)
    if kind in (int, float):
        single = not isinstance(value, (bool, Tensor)) and getattr(value, "ndim", 0) == 0
        return (
            single and hasattr(value, "__index__" if kind is int else "__float__") and _held(value)
        )
    return kind not in _CHECKED or isinstance(value, kind)


def _held(value: Any) -> bool:
    """Tell whether a tensor can hold a number."""
    return not hasattr(value, "__index__") or -MOST < value.__index__() < MOST


def _described(hint: Any) -> str:
    words = {int: "a whole number", float: "a number", bool: "True or False", str: "text"}
    words |= {type(None): "None", Tensor: "a tensor with one for each sample"}
    kinds = _alternatives(hint)
    named = [
        f"one of {', '.join(map(repr, get_args(kind)))}" if get_origin(kind) is Literal
        else "a tuple of numbers" if get_origin(kind) is tuple
        else words.get(kind, getattr(kind, "__name__", str(kind)))
        for kind in kinds
    ]  # fmt: skip
    return " or ".join(named)
