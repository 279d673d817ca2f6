"""Sparring: attack, retrain, re-attack. `python train.py --help` lists the jobs."""

import sys

from trainers.run.cli import main

if __name__ == "__main__":
    sys.exit(main())
