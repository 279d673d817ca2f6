"""Parameters of a test of which the default suite takes a few."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def slow_but(quick: Collection[Any], cases: Iterable[Any]) -> list[Any]:
    """Return the cases as parameters; all but the quick ones are for the slow suite.

    Args:
        quick: some of the cases.
        cases: a value each, or a tuple of one for each argument.
    """
    return [
        pytest.param(
            *(case if isinstance(case, tuple) else (case,)),
            marks=[] if case in quick else pytest.mark.slow,
        )
        for case in cases
    ]
