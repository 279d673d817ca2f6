"""The command that started the program, and what its messages say of commands."""

import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

from trainers.run.errors import OURS

INSTALLED = "sparring"  # the command of the installed package
SCRIPT = "train.py"


def program() -> str:
    """Return the name of the program as messages and usage show it: sparring or train.py."""
    return INSTALLED if Path(sys.argv[0]).stem == INSTALLED else SCRIPT


def command_line(words: Sequence[object]) -> str:
    """Return the words, quoted, behind the command that started this process.

    >>> command_line(["--resume", "my runs/1"]).partition("train.py ")[2]
    "--resume 'my runs/1'"
    """
    given = sys.argv[0] if Path(sys.argv[0]).name == SCRIPT else SCRIPT
    start = [INSTALLED] if program() == INSTALLED else ["python", given]
    return shlex.join([*start, *map(str, words)])


def resume_command(folder: Path) -> str:
    """Return the command that goes on with the run in a folder, whatever it is called.

    >>> resume_command(Path("-a")).partition("train.py ")[2]
    '--resume=-a'
    """
    hyphen = str(folder).startswith("-")
    return command_line([f"--resume={folder}"] if hyphen else ["--resume", folder])


def suggest(word: str, names: Iterable[str]) -> str:
    """Return the question whether one of some names was meant, where a word is near to one.

    >>> suggest("pdg", ["pgd", "fgsm"])
    'did you mean pgd? '
    """
    near = get_close_matches(word, names, n=1)
    return f"did you mean {near[0]}? " if near else ""


def check_packages() -> None:
    """Refuse to start where a folder of the user's stands before one of our packages.

    Raises:
        ValueError: naming the folder, and what to do.
    """
    home = Path(__file__).resolve().parents[3]  # trainers/run/cli/command.py
    for name in OURS:
        spec = find_spec(name)
        found = Path(spec.origin).resolve().parent if spec and spec.origin else home / name
        if found != home / name:
            free = f"start the installed command `{INSTALLED}`, which does not look there"
            if program() == INSTALLED or str(found.parent) in os.environ.get("PYTHONPATH", ""):
                free = f"take {found.parent} out of PYTHONPATH"
            raise ValueError(
                f"{found} is found in place of our own package {name}, which is in {home}; rename "
                f"it, or {free}"
            )
