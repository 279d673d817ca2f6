"""An option with the values it may have, declared at one place: its field."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from operator import ge, gt, le, lt
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Bounds:
    """The values that an option may have.

    Attributes:
        at_least: the smallest number.
        above: a number below all of them.
        below: a number above all of them.
        at_most: the largest number.
        one_of: the numbers, where there are few.
        kinds: the kinds of code, of the jobs of `compress`, that the option has a use for; none
            named are all.
        reason: for the largest number, in words.
    """

    at_least: float | None = None
    above: float | None = None
    below: float | None = None
    at_most: float | None = None
    one_of: tuple[int, ...] = ()
    kinds: tuple[str, ...] = ()
    reason: str = ""

    def refusal(self, value: Any) -> str | None:
        """Say what is allowed where a number is not.

        >>> Bounds(at_least=1, at_most=9).refusal(0), Bounds(above=0).refusal(0.5)
        ('at least 1', None)
        """
        tests = (
            (self.at_least, ge, "at least {:g}"),
            (self.above, gt, "above {:g}"),
            (self.below, lt, "below {:g}"),
            (self.at_most, le, f"at most {{}}{self.reason}"),
        )
        for end, holds, text in tests:
            if end is not None and not holds(value, end):  # NaN fails too
                return text.format(end)
        if self.one_of and value not in self.one_of:
            return " or ".join(map(str, self.one_of))
        return None


def option(
    default: T,
    *,
    at_least: float | None = None,
    above: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
    one_of: tuple[int, ...] = (),
    kinds: tuple[str, ...] = (),
    reason: str = "",
) -> T:
    """Declare a field of a config; the arguments beside its default are those of `Bounds`."""
    bounds = Bounds(at_least, above, below, at_most, one_of, kinds, reason)
    return field(default=default, metadata={"bounds": bounds})


def bounds_of(config: Any) -> Iterator[tuple[str, Any, Bounds]]:
    """Yield every option of a config, groups dissolved: its name, its value and its bounds."""
    for each in fields(config):
        value = getattr(config, each.name)
        if is_dataclass(value):
            yield from bounds_of(value)
        else:
            yield each.name, value, each.metadata.get("bounds", Bounds())
