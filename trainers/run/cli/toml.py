"""A config as TOML and back: one flat file whose keys are the flags."""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from trainers.run.cli.command import suggest
from trainers.run.cli.numbers import number

T = TypeVar("T")
LARGEST = 2**20  # characters of a config
UNIONS = (UnionType, Union)  # `int | None`, and `Literal["a"] | None`
SHOWN = 100  # characters of a name or a value in a message
PARTS = 64  # of a dotted key
SEAL = "# as the run began: "  # in a run folder, before the digest of the lines above
GIVEN = "give a file that --print-config wrote"
OWN = (
    "put it back as it was when the run was begun, or begin another run with another --run-dir "
    "and its options again (command.txt beside it has them)"
)
PART = re.compile(r"""[\s"'\w-]*""")
UNSAVED = {"run_dir", "resume", "debug", "config", "print_config"}  # of one start, not of the run


def flag(name: str) -> str:
    """Return the flag's and the TOML key's spelling of a field's name.

    >>> flag("train_samples")
    'train-samples'
    """
    return name.replace("_", "-")


def flatten(config: Any) -> dict[str, Any]:
    """Return every option of a config by its field's name, groups dissolved."""
    return {name: value for group in vars(config).values() for name, value in vars(group).items()}


def replace_options(config: T, options: Mapping[str, Any]) -> T:
    """Return a config with some of its options, named as in `flatten`, replaced."""
    groups = {
        name: replace(group, **{key: options[key] for key in vars(group) if key in options})
        for name, group in vars(config).items()
    }
    return replace(config, **groups)  # type: ignore[type-var]


def dump(job: str, config: Any) -> str:
    """Write a config as TOML; an option that is not set is shown as a comment."""
    lines = [f"job = {json.dumps(job)}"]
    for title, group in vars(config).items():
        saved = {flag(name): value for name, value in vars(group).items() if name not in UNSAVED}
        lines += ["", f"# {title}"]
        lines += [f"# {k} =" if v is None else f"{k} = {_text(v)}" for k, v in saved.items()]
    return "\n".join(lines) + "\n"


def _text(value: Any) -> str:
    """Write one value; but for escapes JSON's strings, numbers, booleans and lists are TOML's."""

    def escape(found: re.Match[str]) -> str:
        code = ord(found[0])
        return f"\\u{code:04x}" if code < 2**16 else f"\\U{code:08x}"

    return re.sub(r"[^ -~]", escape, json.dumps(value, ensure_ascii=False))


def with_digest(text: str) -> str:
    """Return a config as a run folder keeps it, with a digest by which a change is noticed."""
    return f"{text}\n{SEAL}{blake2b(text.encode(), digest_size=16).hexdigest()}\n"


def load(path: Path, *, own: bool = False) -> dict[str, Any]:
    """Read the options in a TOML file, by field name; "job" among them when it is there.

    Args:
        path: the file.
        own: whether it is the one that a run keeps in its folder.

    Raises:
        RefusedInput: when there is no such file, it is not TOML, or a run's own was changed.
        ValueError: when "job" is no name.
    """
    from attacks.errors import RefusedInput  # loads torch: not before it is needed

    advice = OWN if own else GIVEN
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST + 1).decode()
        check_size(text)
        table = tomllib.loads(text)
    except OSError as error:
        raise RefusedInput(f"cannot read the config {path}: {error.strerror}; {advice}") from error
    except (ValueError, RecursionError) as error:
        raise RefusedInput(f"{path} is not TOML: {error}; {advice}") from error
    if own and SEAL in text and text != with_digest(text.rpartition(f"\n{SEAL}")[0]):
        raise RefusedInput(f"{path} was changed after the run was begun; {advice}")
    if not isinstance(job := table.get("job", ""), str):
        raise ValueError(f"{path}: job is {shorten_value(job)}; allowed: the name of a job")
    return {name.replace("-", "_"): value for name, value in table.items()}


def check_size(text: str) -> None:
    """Refuse TOML that would take the parser long; no config of ours is like that.

    Raises:
        ValueError: for much text, or a key of many parts, whose time is the square of them.
    """
    if len(text) > LARGEST:
        raise ValueError(f"it has more than {LARGEST:,} characters")
    parts = 0
    for part in text.split("."):
        parts = parts + 1 if PART.fullmatch(part) else 0
        if parts > PARTS:
            raise ValueError(f"it has a key of more than {PARTS} parts")


def check_options(path: Path, options: Mapping[str, Any], config: Any) -> dict[str, Any]:
    """Return the options of a file, fit for `replace_options`.

    Raises:
        ValueError: for an option that the job does not have, or a value it does not take.
    """
    known = {name: hint for name, hint in option_types(config).items() if name not in UNSAVED}
    result = {}
    for name, value in options.items():
        if name not in known:
            word = flag(name)[:SHOWN]
            hint = suggest(word, map(flag, known)).strip() or "--print-config shows them all"
            raise ValueError(f"{path}: this job has no option {word}; {hint}")
        try:
            result[name] = read_value(value, known[name])
        except (TypeError, ValueError, OverflowError) as error:
            allowed = f"; allowed: {type_in_words(known[name])}"
            reason = allowed if isinstance(error, TypeError) else f": {error}"
            raise ValueError(f"{path}: {flag(name)} is {shorten_value(value)}{reason}") from error
    return result


def type_in_words(hint: Any) -> str:
    """Return an option's type in words.

    >>> [type_in_words(hint) for hint in (int | None, Literal["l1", "l2"], tuple[float, ...])]
    ['int', 'l1 or l2', 'a list of float']
    """
    if get_origin(hint) is tuple:
        return f"a list of {type_in_words(get_args(hint)[0])}"
    if get_origin(hint) is Literal:
        return " or ".join(map(str, get_args(hint)))
    if get_origin(hint) in UNIONS:
        return " or ".join(type_in_words(kind) for kind in get_args(hint) if kind is not NoneType)
    return str(hint.__name__)


def shorten_value(value: Any) -> str:
    """Return a value of a file for a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def read_value(value: Any, hint: Any) -> Any:
    """Return a TOML value as an option of some type takes it: lists as tuples, texts as numbers.

    >>> read_value("8/255", float | None) == 8 / 255, read_value([1, "1/2"], tuple[float, ...])
    (True, (1.0, 0.5))
    >>> read_value("l2", Literal["l1", "l2"] | None)
    'l2'

    Raises:
        ValueError: for a text that is no number where one is wanted.
        OverflowError: for a whole number that is too large for a float.
        TypeError: for a value of another type.
    """
    kinds = get_args(hint)
    if get_origin(hint) in UNIONS:
        return read_value(value, next(kind for kind in kinds if kind is not NoneType))
    if get_origin(hint) is tuple and isinstance(value, list):
        return tuple(read_value(item, kinds[0]) for item in value)
    if hint is float and isinstance(value, str):
        return number(value)
    if hint is float and type(value) is int:
        return float(value)
    if value in kinds if get_origin(hint) is Literal else type(value) is hint:
        return value
    raise TypeError


def option_types(config: Any) -> dict[str, Any]:
    """Return the type of every option by its field's name, groups dissolved."""
    hints = map(get_type_hints, map(type, vars(config).values()))
    return {name: hint for group in hints for name, hint in group.items()}
