"""The command line: choose a job, read its options, run it in its folder, answer with a code."""

import logging
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise, takewhile
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from trainers.run import errors
from trainers.run.cli import config
from trainers.run.cli.checks import check
from trainers.run.cli.command import check_packages, program, suggest
from trainers.run.cli.jobs import (
    compress,
    detect,
    evaluate,
    explain,
    network,
    report,
    representation,
    review,
)
from trainers.run.cli.parsing import ParsedCommand, job_title, parse, read_flags
from trainers.run.cli.toml import dump, load

log = logging.getLogger(__name__)


# The options of each job; its work is run_NAME(config, folder) in trainers/jobs/NAME.py.
JOBS: dict[str, type[Any]] = {
    "rounds": config.RoundsConfig,
    "fit": config.FitConfig,
    "attack": config.AttackConfig,
    "evaluate": evaluate.EvaluateConfig,
    "detect": detect.DetectConfig,
    "explain": explain.ExplainConfig,
    "network": network.NetworkJobConfig,
    "representation": representation.RepresentationConfig,
    "compress-fit": compress.CompressFitConfig,
    "compress-encode": compress.CompressEncodeConfig,
    "compress-decode": compress.CompressDecodeConfig,
    "compress-evaluate": compress.CompressEvaluateConfig,
}
# What works on runs that there are, and has no run folder of its own; run_NAME(config) does it.
COMMANDS: dict[str, type[Any]] = {
    "review": review.ReviewConfig,
    "report": report.ReportConfig,
    "runs": report.RunsConfig,
}
MODELS = "models"  # which is no job: it answers, and makes no run folder
MODELS_HELP = "List what --model takes; `models WORD`: the names with a word in them."
# Whose names are two words on the command line.
GROUPS = ("compress",)


def main(words: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code.

    Args:
        words: the arguments; None takes those of the process.
    """
    words = list(sys.argv[1:] if words is None else words)
    try:
        with errors.stoppable():
            return run_reporting_errors(words)
    except errors.STOPPED as error:  # one more, while the first was told
        return errors.exit_code(error)


def run_reporting_errors(words: list[str]) -> int:
    """Run a command line; say what went wrong."""
    try:
        return run(words)
    except SystemExit as done:  # tyro's, after --help or a flag it refuses
        return done.code if isinstance(done.code, int) else errors.USAGE
    # Here the program ends: whatever went wrong becomes a sentence and a code.
    except (Exception, *errors.STOPPED) as error:  # noqa: BLE001
        with suppress(OSError, AttributeError):  # nobody reads stderr, or there is none
            if "--debug" in words:
                traceback.print_exception(error)
            sys.stderr.write(f"{program()}: {errors.sentence(error)}\n")
        return errors.exit_code(error)


def run(words: list[str]) -> int:
    """Run a command line; let errors through."""
    check_packages()
    name, rest = job_name(words)
    if name in ("", *GROUPS) and rest[:1] in (["-h"], ["--help"]):
        sys.stdout.write(overview(name))
        return errors.DONE
    if name == MODELS:
        sys.stdout.write(models_page(rest))
        return errors.DONE
    if name in COMMANDS:
        run_command(name, rest)
        return errors.DONE
    start = parse_command(words)
    check(start.config)
    if start.config.run.print_config:
        sys.stdout.write(dump(start.job, start.config))
        return errors.DONE
    from trainers.run.session import session  # loads torch: not for --help

    work = f"trainers.jobs.{start.job.replace('-', '.')}:run_{start.job.split('-')[-1]}"
    with session(start, words) as folder:
        if folder is not None:
            resolve_name(work)(start.config, folder)
    return errors.DONE


def run_command(name: str, words: list[str]) -> None:
    """Run what has no run folder of its own."""
    options = read_flags(name, words, COMMANDS[name]())
    check(options)
    from trainers.run.session import show_on_terminal  # loads torch: not for --help

    with show_on_terminal():
        resolve_name(f"trainers.jobs.{name}:run_{name}")(options)


def parse_command(words: list[str]) -> ParsedCommand:
    """Split off the job's name and read its flags.

    Without a name it is `rounds`; with --resume DIR, the job and the options of that folder.

    Raises:
        ValueError: for a job that does not exist, or a folder that is none.
    """
    folder = resumed_folder(words)
    file = folder / "config.toml" if folder else None
    if file and not os.path.exists(file):  # which a name that is too long does not stop
        raise ValueError(
            f"--resume {folder}: no run folder (it has no config.toml); give that of a run"
        )
    job, words = job_name(words)
    if not job:
        job = str(load(file, own=True).get("job", "rounds")) if file else "rounds"
    if job not in JOBS:
        names = [*map(job_title, JOBS), *COMMANDS, MODELS]
        hint = suggest(job_title(job), names)
        raise ValueError(f"there is no job {job_title(job)!r}; {hint}allowed: {', '.join(names)}")
    return parse(job, words, JOBS[job](), file)


def job_name(words: list[str]) -> tuple[str, list[str]]:
    """Split off the job's name, of one word or, in a group, of two; "" where there is none.

    >>> job_name(["compress", "fit", "--smoke"])
    ('compress-fit', ['--smoke'])
    """
    most = 2 if words[:1] and words[0] in GROUPS else 1
    name = list(takewhile(lambda word: not word.startswith("-"), words[:most]))
    return "-".join(name), words[len(name) :]


def resumed_folder(words: Sequence[str]) -> Path | None:
    """Return DIR of the last `--resume DIR` (or `--resume=DIR`) when it names one.

    >>> resumed_folder(["--resume", "a", "--resume=b"])
    PosixPath('b')
    """
    last = "auto"
    for word, following in pairwise([*words, ""]):
        name, mark, value = word.partition("=")
        if name == "--resume":
            last = value if mark else following
    return None if last in ("auto", "never", "") else Path(last)


def models_page(words: Sequence[str]) -> str:
    """Return the page of the command `models`, or its help.

    Raises:
        ValueError: for more than one word, or one that no name has.
    """
    words = [word for word in words if word != "--debug"]
    if words in (["-h"], ["--help"]):
        return (
            f"usage: {program()} {MODELS} [WORD]\n\n{MODELS_HELP}\n\n"
            "  timm:, robustbench:   the names of these packages, which are many\n"
        )
    if len(words) > 1 or any(word.startswith("-") for word in words):
        raise ValueError(
            f"{MODELS} takes one word, and got {' '.join(words)}; give a part of a name"
        )
    from trainers.models.catalogue import list_models  # loads torch: not for --help

    return list_models(*words)


def overview(group: str = "") -> str:
    """Return the help page that lists the jobs, or those of a group."""
    name = program()
    jobs = "".join(
        f"  {job_title(key):<19}{(options.__doc__ or '').splitlines()[0]}\n"
        for key, options in (JOBS | COMMANDS).items()
        if key.startswith(group)
    )
    if group:
        return f"usage: {name} {group} JOB [OPTIONS]\n\n{jobs}"
    return f"""\
usage: {name} [JOB] [OPTIONS]        (no job: rounds)

{jobs}  {MODELS:<19}{MODELS_HELP}

  {name}                         attack and retrain a small classifier of digits
  {name} JOB --help              the options of a job
  {name} JOB --smoke             try a job in seconds
  {name} --resume runs/DIR       go on with an interrupted run
"""
