"""Sparring: attack, retrain, re-attack. `python train.py --help` lists the jobs."""

import sys

try:
    from trainers.run.main import main
except ImportError as error:
    if not (error.name or "").startswith("trainers."):
        raise
    found = getattr(sys.modules["trainers"], "__file__", None) or sys.modules["trainers"]
    sys.stderr.write(
        f"train.py: {found} is found in place of our own package trainers; rename it, or start the "
        "installed command `sparring`, which does not look there unless PYTHONPATH names it\n"
    )
    sys.exit(2)

if __name__ == "__main__":
    sys.exit(main())
