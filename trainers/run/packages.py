"""Whether the packages that Python finds are this program's, or a user's of the same names."""

import sys
from importlib.util import find_spec
from pathlib import Path

from trainers.run.command import INSTALLED
from trainers.run.errors import OURS


def check_packages() -> None:
    """Refuse to start where a folder of the user's stands before one of our packages.

    Raises:
        ValueError: naming the folder, and what to do.
    """
    home = Path(__file__).resolve().parents[2]  # trainers/run/packages.py
    for name in OURS:
        spec = None if name in sys.modules else find_spec(name)
        if spec is None or spec.origin is None:
            continue
        found = Path(spec.origin).resolve().parent
        if found != home / name:
            raise ValueError(
                f"{found} is found in place of our own package {name}, which is in {home}; rename "
                f"that folder or start where Python does not look into {found.parent}: the command "
                f"`{INSTALLED}` does not, unless PYTHONPATH names it"
            )
