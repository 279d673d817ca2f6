"""Check that the packages Python finds are this program's, not a user's of the same names."""

import os
from importlib.util import find_spec
from pathlib import Path

from trainers.run.cli.command import INSTALLED, program
from trainers.run.errors import OURS


def check_packages() -> None:
    """Refuse to start where a folder of the user's stands before one of our packages.

    Raises:
        ValueError: naming the folder, and what to do.
    """
    home = Path(__file__).resolve().parents[3]  # trainers/run/cli/packages.py
    for name in OURS:
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            continue
        found = Path(spec.origin).resolve().parent
        if found != home / name:
            free = f"start the installed command `{INSTALLED}`, which does not look there"
            if program() == INSTALLED or str(found.parent) in os.environ.get("PYTHONPATH", ""):
                free = f"take {found.parent} out of PYTHONPATH"
            raise ValueError(
                f"{found} is found in place of our own package {name}, which is in {home}; rename "
                f"it, or {free}"
            )
