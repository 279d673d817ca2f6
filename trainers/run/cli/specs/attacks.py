"""Attacks as users write them: `pgd`, `pgd:eps=8/255,steps=20`."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import fields
from hashlib import blake2b
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from torch import Tensor

from attacks import ATTACKS, FITTED, Attack, load_fitted
from attacks.universal.fitting import Fittable
from compress import TaskQuantiser
from trainers.defences import DEFENCES
from trainers.defences.adaptive import adaptive_options
from trainers.defences.defence import Defence
from trainers.run.cli.command import suggest
from trainers.run.cli.config import SamplesConfig
from trainers.run.cli.numbers import READERS, check_size
from trainers.run.cli.presets import BUDGETS, SMOKE_OPTIONS

Options = Mapping[str, Any]
GENERATOR_SAMPLES = 64  # training samples a round; it costs about a hundred times PGD
BOOLEANS = {"true": True, "false": False}
FILE = ".safetensors"
LONGEST, SHORT = 100, 40  # bytes of a slug without a digest; characters of one before it


def build_attack(
    text: str, *, defaults: Options | None = None, overrides: Options | None = None
) -> Attack:
    """Make the attack that a text describes.

    Args:
        text: NAME or NAME:OPTION=VALUE,..., or the file of a fitted attack, *.safetensors.
        defaults: options that the text overrides, and that an attack may lack.
        overrides: options from flags of their own; the attack must have them.

    Raises:
        ValueError: for an unknown name or option, or a value that is not allowed.
        RefusedInput: for a file that holds no fitted attack.
    """
    name = text.partition(":")[0]
    if name in FITTED:
        raise ValueError(
            f"the attack {name} has to be fitted: `attack --attack {name}` does it and keeps a "
            ".safetensors file; name that file here"
        )
    if text.endswith(FILE):
        for key in overrides or {}:
            _check_option(text, key, ["none"])
        return load_fitted(text)
    if name not in ATTACKS:
        hint = suggest(name, [*ATTACKS, *FITTED])
        raise ValueError(
            f"there is no attack {name!r}; {hint}allowed: {', '.join(ATTACKS)}; for the job attack "
            f"also {', '.join(FITTED)}"
        )
    kind = ATTACKS[name]
    return kind(**_options(kind, text, defaults or {}, overrides or {}))


def build_task(text: str | None, *, smoke: bool) -> TaskQuantiser:
    """Make the search of x-task that a text describes, `OPTION=VALUE,...`.

    Args:
        text: options; None takes the search's own.
        smoke: whether the job is to take seconds.

    Raises:
        ValueError: for an option it does not have, or a value that is not allowed.
    """
    options = read_options("--task", text or "", types_of(TaskQuantiser))
    return TaskQuantiser(**({"steps": 4} if smoke else {}) | options)


def build_defences(texts: Sequence[str]) -> tuple[Defence, ...]:
    """Make the defences that texts describe, NAME or NAME:OPTION=VALUE,... each.

    Raises:
        ValueError: for an unknown name or option, or a value that is not allowed.
    """
    made = []
    for name, _, rest in (text.partition(":") for text in texts):
        if name not in DEFENCES:
            hint = suggest(name, list(DEFENCES))
            raise ValueError(f"there is no defence {name!r}; {hint}allowed: {', '.join(DEFENCES)}")
        made.append(DEFENCES[name](**read_options(name, rest, types_of(DEFENCES[name]))))
    return tuple(made)


def read_options(what: str, text: str, known: Options) -> dict[str, Any]:
    """Read `OPTION=VALUE,...` as values of the types of some options."""
    options = {}
    for key, value in pairs_of(what, text).items():
        if key not in known:
            raise ValueError(f"{what} has no option {key!r}; it has: {', '.join(known)}")
        options[key] = convert(value, known[key], what=f"{what}:{key}")
        check_size(f"{what}: {key}", key, options[key])
    return options


def types_of(kind: Any) -> dict[str, Any]:
    """Return the type of each option of a dataclass, by name."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind) if field.init}


def build_fittable(text: str, *, defaults: Options, overrides: Options) -> Fittable:
    """Make the options that a text describes of an attack that is fitted first; as `build_attack`.

    An attack among them takes what `overrides` holds and they have no option for.
    """
    kind = FITTED[text.partition(":")[0]]
    return kind(**_options(kind, text, defaults, overrides))


def is_fittable(text: str) -> bool:
    """Tell whether a text describes an attack that is fitted first."""
    return text.partition(":")[0] in FITTED


def _options(
    kind: type[Attack | Fittable], text: str, defaults: Options, overrides: Options
) -> dict[str, Any]:
    """Return the options of an attack of some kind, see `build_attack` and `build_fittable`."""
    name, _, rest = text.partition(":")
    known = types_of(kind)
    inner = next((key for key, hint in known.items() if hint is Attack), None)
    written = pairs_of(name, rest)
    inside = {key: value for key, value in overrides.items() if inner and key not in known}
    options = {key: value for key, value in defaults.items() if key in known}
    if getattr(kind, "own_eps", False):
        options.pop("eps", None)
    for key, value in written.items():
        _check_option(name, key, known)
        if key != inner:
            options[key] = convert(value, known[key], what=f"{name}:{key}")
    for key, value in overrides.items():
        if key not in inside:
            _check_option(name, key, known)
            options[key] = value
    if inner:
        made = next(field.default_factory for field in fields(kind) if field.name == inner)
        usual = next(name for name, attack in ATTACKS.items() if attack is made)
        named = written.get(inner) or usual
        options[inner] = build_attack(named, defaults=defaults, overrides=inside)
    if "eps" in options and "eps" not in {*written, *overrides}:
        _check_norm(text, options.get("norm"), defaults)
    _check_budget(name, options)
    for key, value in options.items():
        check_size(f"{name}: {key}", key, value)
    return options


def pairs_of(name: str, text: str) -> dict[str, str]:
    """Split `top-k=3, steps=9` into option and value; each option once."""
    words = [part.partition("=") for part in text.split(",") if part.strip()]
    keys = [key.strip().replace("-", "_") for key, _, _ in words]
    for key in keys:
        if keys.count(key) > 1:
            raise ValueError(f"{name}:{key} is given {keys.count(key)} times; give it once")
    return {key: value.strip() for key, (_, _, value) in zip(keys, words, strict=True)}


def _check_norm(text: str, norm: str | None, defaults: Options) -> None:
    """Refuse a norm for which the usual budget is not meant."""
    if norm is not None and norm != defaults.get("norm", norm):
        raise ValueError(
            f"{text} has no eps, and {defaults['eps']:g} is meant for {defaults['norm']}; give "
            f"--norm {norm} instead, or an eps beside it, such as "
            f"eps={BUDGETS['images'][norm]:g} (for digits {BUDGETS['digits'][norm]:g})"
        )


def _check_budget(name: str, options: Options) -> None:
    """Refuse a budget that no pixel has room for; who writes 8 mostly means 8/255."""
    eps = options.get("eps")
    if eps is None:  # an attack without a ball
        return
    if not 0 <= eps < math.inf:
        raise ValueError(f"{name}: eps is {eps:g}; allowed: finite numbers of at least 0")
    if eps > 1 and options.get("norm", "linf") == "linf":
        raise ValueError(
            f"{name}: eps is {eps:g}; allowed: at most 1, as pixels are in [0, 1]; write {eps:g} "
            f"of 255 as {eps:g}/255"
        )


def _check_option(name: str, key: str, allowed: Iterable[str]) -> None:
    """Refuse an option the attack does not have."""
    if key not in allowed:
        raise ValueError(f"the attack {name} has no option {key!r}; it has: {', '.join(allowed)}")


def convert(text: str, hint: Any, *, what: str) -> Any:
    """Read a value as the type of an option.

    >>> convert("8/255", float, what="eps") == 8 / 255
    True
    >>> convert("l2", Literal["linf", "l2"], what="norm")
    'l2'
    >>> convert("0.5:0.4:1/4", tuple[float, ...], what="mean")
    (0.5, 0.4, 0.25)

    Raises:
        ValueError: when the text is no such value.
    """
    inner = get_args(hint)
    if get_origin(hint) is Literal:
        if text not in inner:
            raise ValueError(f"{what} is {text!r}; allowed: {', '.join(map(str, inner))}")
        return text
    if get_origin(hint) in (Union, UnionType):
        if NoneType in inner and text.lower() == "none":
            return None
        first, *others = (kind for kind in inner if kind not in (NoneType, Tensor))
        with suppress(ValueError) if others else nullcontext():
            return convert(text, first, what=what)
        return convert(text, others[0], what=what)
    if get_origin(hint) is tuple:
        return tuple(convert(part, inner[0], what=what) for part in text.split(":"))
    if hint is bool and text.lower() in BOOLEANS:
        return BOOLEANS[text.lower()]
    try:
        return READERS[hint](text)
    except (KeyError, ValueError):
        kind = getattr(hint, "__name__", str(hint))
        raise ValueError(f"{what} is {text!r}; allowed: a value of type {kind}") from None


def build_attacks(texts: Sequence[str], *, defaults: Options) -> dict[str, Attack]:
    """Make several attacks, each under its name, or under its whole text where a name repeats.

    Raises:
        ValueError: see `build_attack`; also for the same text twice.
    """
    names = [text.partition(":")[0] for text in texts]
    if len(set(texts)) < len(texts):
        raise ValueError(f"an attack is named twice in {' '.join(texts)}; name each once")
    return {
        text if names.count(name) > 1 else name: build_attack(text, defaults=defaults)
        for name, text in zip(names, texts, strict=True)
    }


def attack_defaults(
    config: SamplesConfig, *, eps: float, norm: str, measuring: bool = False
) -> dict[str, Any]:
    """Return the options that attacks take where neither their text nor a flag says otherwise.

    Those that only measure let a sample go once it is fooled: the same successes in less time.
    Networks P begin as the identity; `vary_start` lets further instances begin elsewhere. What a
    defence hides from gradients they look behind.
    """
    defences = build_defences(config.classifier.defence)
    quick = {"early_stop": True} if measuring else {}
    small = SMOKE_OPTIONS if config.run.smoke else {}
    return {"eps": eps, "norm": norm, "noise": 0.0} | quick | adaptive_options(defences) | small


def sample_counts(texts: Sequence[str], names: Sequence[str]) -> dict[str, int | None]:
    """Read `generator=32 pgd=all` as how many samples each attack gets; None is all of them.

    An attack that is not named gets all, but the slow generator GENERATOR_SAMPLES.

    >>> sample_counts(["fgsm=9"], ["generator", "pgd", "fgsm"])
    {'generator': 64, 'pgd': None, 'fgsm': 9}

    Raises:
        ValueError: for a count that is none.
    """
    slow = {name for name in names if name.partition(":")[0] == "generator"}
    counts = {name: GENERATOR_SAMPLES if name in slow else None for name in names}
    for text in texts:
        name, _, count = text.rpartition("=")
        if not name or not (count == "all" or (count.isdecimal() and int(count) > 0)):
            raise ValueError(f"--attack-samples has {text!r}; allowed: NAME=COUNT or NAME=all")
        if name in counts:
            counts[name] = None if count == "all" else int(count)
        elif name not in ATTACKS:
            raise ValueError(f"--attack-samples names {name!r}; allowed: {', '.join(names)}")
    return counts


def slug(name: str) -> str:
    """Return an attack's name fit for a file name; that of a file, or a long one, with a digest.

    >>> slug("pgd:eps=8/255")
    'pgd-eps-8-255'
    >>> slug("a/b.safetensors") == slug("a-b.safetensors")
    False
    """
    text = re.sub(r"[^\w.]+", "-", name)
    if len(text.encode()) <= LONGEST and not name.endswith(FILE):
        return text
    return f"{text[:SHORT]}-{blake2b(name.encode(), digest_size=8).hexdigest()}"
