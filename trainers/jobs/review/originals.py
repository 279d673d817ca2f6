"""The originals of a run's perturbed samples, read beside a run that may be working."""

import logging
from pathlib import Path

from attacks import RefusedInput
from augment import Dataset
from trainers.run.cli.config import RoundsConfig
from trainers.run.cli.parsing import check_file
from trainers.run.cli.toml import replace_options
from trainers.run.folder.atomic import read_json
from trainers.run.job_context import input_name, read_split

log = logging.getLogger(__name__)


def load_originals(run: Path) -> Dataset | None:
    """Load the training samples of a run without its lock, and without writing into its folder.

    Args:
        run: the run folder.

    Returns:
        The samples; None, with a warning, where they are gone or others by now.
    """
    try:
        default = RoundsConfig()
        options = check_file(run / "config.toml", "rounds", default, own=True)
        config = replace_options(default, options)
        originals = read_split(config, "train")
        known = read_json(run / "inputs.json", dict)
        name = input_name(config, "train")
        if known.get(name) not in (None, originals.digest()):
            raise RefusedInput(f"{name} is not what it was when the run was begun")
    except (OSError, RefusedInput, ValueError) as error:
        log.warning("originals, class names and controls are not shown: %s", error)
        return None
    return originals
