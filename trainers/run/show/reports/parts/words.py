"""The sentence that a report begins with: what was run, on what."""

from collections.abc import Mapping, Sequence
from typing import Any

from trainers.run.folder.record import RunRecord

Row = Mapping[str, Any]


def data_of(run: RunRecord) -> str:
    """Return the name of a run's data."""
    return str(run.options.get("data", "its data"))


def model_of(run: RunRecord) -> str:
    """Return the name of a run's classifier, and of its weights."""
    weights = f" with the weights {run.options['weights']}" if "weights" in run.options else ""
    defences = run.options.get("defence") or []
    behind = f" behind {', '.join(defences)}" if defences else ""
    return f"{run.options.get('model', 'a small classifier of our own')}{weights}{behind}"


def subject(run: RunRecord) -> str:
    """Return the same to begin a sentence with; a name keeps its letters."""
    named = model_of(run)
    return named if "model" in run.options else f"{named[0].upper()}{named[1:]}"


def end_of_lead(run: RunRecord) -> str:
    """Return the seed, and whether the run was a try of seconds."""
    smoke = " A smoke run: small numbers, to see that it works." if run.options["smoke"] else ""
    return f"Seed {run.options['seed']}.{smoke}"


def count(number: int, name: str) -> str:
    """Return a number with its noun.

    >>> count(1, "round"), count(3, "round")
    ('1 round', '3 rounds')
    """
    return f"{number} {name}{'' if number == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """Return names as part of a sentence.

    >>> listed(["a", "b", "c"]), listed(["a"])
    ('a, b and c', 'a')
    """
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
