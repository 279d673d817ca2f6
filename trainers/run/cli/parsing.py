"""From the words on the command line to a config."""

from pathlib import Path
from types import UnionType
from typing import Any, NamedTuple, get_args

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from trainers.run.cli.command import program
from trainers.run.cli.numbers import READERS
from trainers.run.cli.presets import data_preset, smoke_preset
from trainers.run.cli.toml import OWN, check_options, flag, flatten, load, replace_options

registry = ConstructorRegistry()
METAVARS = {int: "INT", float: "NUMBER", str: "TEXT"}


@registry.primitive_rule
def _scalar(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """Read `float` and `KIND | None`, floats also as fractions."""
    kinds = get_args(info.type) if isinstance(info.type, UnionType) else (info.type,)
    kind = next((k for k in kinds if k in METAVARS), None)
    if kind is None or (type(None) not in kinds and kind is not float):
        return None
    read = READERS[kind]
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=METAVARS[kind],
        instance_from_str=lambda words: read(words[0]),
        is_instance=lambda value: value is None or isinstance(value, kind),
        str_from_instance=lambda value: [str(value)],
    )


class ParsedCommand(NamedTuple):
    """A job, and its options as the command line gave them."""

    job: str
    config: Any


def parse(job: str, words: list[str], default: Any, file: Path | None = None) -> ParsedCommand:
    """Read a job's flags.

    Weakest first: the defaults, what the data calls for, what --smoke calls for, the --config
    file, the flags.

    Args:
        job: its name.
        words: the command line behind the job's name.
        default: the job's config, defaults filled in.
        file: a run folder's own config, which stands for --config.

    Raises:
        SystemExit: 0 after --help; 2 when tyro refuses a flag.
        ValueError: for an impossible option in the file, or two files.
        RefusedInput: for a file that is no TOML.
    """
    read = read_flags(job, words, default)
    if file and read.run.config:
        raise ValueError(
            f"--resume {file.parent} takes the options of the run there, and --config "
            f"{read.run.config} gives others; leave one of them out"
        )
    named = file or (Path(read.run.config) if read.run.config else None)
    options = check_file(named, job, default, own=named is file) if named else {}
    given = _given(words, flatten(read))
    asked = flatten(default) | options | given
    small = smoke_preset(job, asked.get("data", "")) if asked["smoke"] else {}
    chosen = data_preset(asked) | small | options | given
    return ParsedCommand(job, replace_options(default, chosen))


def _given(words: list[str], values: dict[str, Any]) -> dict[str, Any]:
    """Return the options whose flags are among the words, of the values that tyro read.

    >>> _given(["--smoke", "--seed=3", "--no-smoke"], {"seed": 3, "lr": 0.1, "smoke": True})
    {'smoke': False, 'seed': 3}
    """
    options = {f"--no-{flag(name)}": (name, False) for name in values}
    options |= {f"--{flag(name)}": (name, value) for name, value in values.items()}
    flags = (word.partition("=")[0].replace("_", "-") for word in words)
    return dict(options[name] for name in flags if name in options)


def check_file(file: Path, job: str, default: Any, *, own: bool) -> dict[str, Any]:
    """Read a config file's options and check that they are this job's.

    Args:
        file: the file.
        job: the job's name.
        default: a config of the job.
        own: whether the file is the one that a run keeps in its folder.

    Raises:
        ValueError: for another job's file, or an option or value that the job does not take.
        RefusedInput: for that in a run's own file; for a file that is no TOML.
    """
    options = load(file, own=own)
    if (other := options.pop("job", job)) != job:
        raise ValueError(
            f"{file} is the config of the job {job_title(str(other))}, not of "
            f"{job_title(job)}; start that job, or name another file or folder"
        )
    try:
        return check_options(file, options, default)
    except ValueError as error:
        if not own:
            raise
        from attacks.errors import RefusedInput  # loads torch: not before it is needed

        raise RefusedInput(f"{error}; {OWN}") from error


def read_flags(job: str, words: list[str], default: Any) -> Any:
    """Let tyro read the flags over some defaults; it has no --x for what is on already.

    Raises:
        SystemExit: 0 after --help; 2 when tyro refuses a flag.
    """
    switches = {name: value for name, value in flatten(default).items() if isinstance(value, bool)}
    idle = {f"--{'' if on else 'no-'}{flag(name)}" for name, on in switches.items()}
    return tyro.cli(
        type(default),
        prog=f"{program()} {job_title(job)}",
        args=[word for word in words if word not in idle],
        default=default,
        registry=registry,
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
    )


def job_title(job: str) -> str:
    """Return a job's name as it is written on the command line.

    >>> job_title("compress-fit")
    'compress fit'
    """
    return job.replace("-", " ")
