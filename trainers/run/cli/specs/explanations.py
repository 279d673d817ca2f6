"""Explanation methods as users write them: `saliency`, `rise:masks=4000`."""

from collections.abc import Sequence
from typing import Any

from attacks import Attack
from explain import METHODS, CaptumMethod, ExplanationMethod
from trainers.run.cli.command import suggest
from trainers.run.cli.specs.attacks import build_attack, convert, pairs_of, types_of

ALL, CAPTUM = "all", "captum"
# Of any method that has such options and is not told otherwise, in a smoke test.
SMOKE_OPTIONS: dict[str, Any] = {"masks": 40, "steps": 4, "samples": 2}


def build_methods(texts: Sequence[str], *, smoke: bool = False) -> dict[str, ExplanationMethod]:
    """Make the methods that texts describe, each under its text; `all` is every one.

    Raises:
        ValueError: for an unknown name or option, a value that is not allowed, or a text twice.
    """
    names = [name for text in texts for name in ([*METHODS] if text == ALL else [text])]
    if len(set(names)) < len(names):
        raise ValueError(f"a method is named twice in {' '.join(texts)}; name each once")
    return {text: build_method(text, smoke=smoke) for text in names}


def build_method(text: str, *, smoke: bool = False) -> ExplanationMethod:
    """Make the method that a text describes, NAME or NAME:OPTION=VALUE,...

    Raises:
        ValueError: for an unknown name or option, or a value that is not allowed.
    """
    name, _, rest = text.partition(":")
    if name == CAPTUM:
        return CaptumMethod(rest)
    if name not in METHODS:
        hint = suggest(name, [*METHODS, ALL])
        raise ValueError(
            f"there is no explanation method {name!r}; {hint}allowed: {', '.join(METHODS)}; {ALL} "
            f"is every one; {CAPTUM}:NAME takes one of captum.attr"
        )
    known = types_of(METHODS[name])
    options = {key: value for key, value in SMOKE_OPTIONS.items() if smoke and key in known}
    for key, value in pairs_of(name, rest).items():
        if key not in known:
            raise ValueError(f"{name} has no option {key!r}; it has: {', '.join(known) or 'none'}")
        is_attack = known[key] is Attack
        options[key] = (
            build_attack(value) if is_attack else convert(value, known[key], what=f"{name}:{key}")
        )
    return METHODS[name](**options)
