"""Numbers as users write them, and how large they may be."""

from collections.abc import Callable
from typing import Any

LARGEST = 10**6  # whole number that an option of an attack may have, if not told otherwise
LARGEST_FLOAT = 1e12
LARGEST_OF = {"queries": 10**9, "budget": 10**9, "seed": 2**63 - 1}


def number(text: str) -> float:
    """Read a decimal number or a fraction of two.

    >>> number("8/255") == 8 / 255
    True

    Raises:
        ValueError: for anything else.
    """
    above, stroke, below = text.partition("/")
    try:
        return float(above) / float(below) if stroke else float(above)
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"{text!r} is no number; write 0.03 or 8/255") from None


READERS: dict[Any, Callable[[str], Any]] = {int: int, float: number, str: str}


def check_size(what: str, name: str, value: object) -> None:
    """Refuse a number that no option has a use for.

    Args:
        what: the option as the user knows it, such as "pgd: steps".
        name: the option's own name.
        value: its value; other things than numbers, or several of them, pass.

    Raises:
        ValueError: naming it.
    """
    for each in value if isinstance(value, tuple) else (value,):
        if isinstance(each, bool) or not isinstance(each, int | float):
            continue
        most = LARGEST_OF.get(name, LARGEST) if isinstance(each, int) else LARGEST_FLOAT
        if not abs(each) <= most:  # NaN fails too
            shown = f"{each:g}" if isinstance(each, float) or abs(each) < 10**300 else "too large"
            raise ValueError(f"{what} is {shown}; allowed: finite numbers, at most {most:g}")
