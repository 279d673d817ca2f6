"""The files of a run folder: of the right kind, all there, and none half-written."""

import logging
from pathlib import Path
from typing import Any

from attacks import RefusedInput
from attacks.files import SUFFIX, sweep
from trainers.run.folder.atomic import are_names, damaged_file, is_present, read_json
from trainers.run.folder.claim import FOLDERS, RESULTS, START, is_named_as_ours
from trainers.run.folder.state import STATES

log = logging.getLogger(__name__)
KINDS = (".safetensors", ".json", ".sprc", ".png", ".svg", ".gif", ".mkv")  # of files in FOLDERS


def check_names(path: Path) -> None:
    """Refuse a run folder in which a folder stands where a file should, or the reverse.

    Raises:
        RefusedInput: naming it.
    """
    items = path / "checkpoints"  # without these, nothing tells that the results are a run's
    if items.exists() and not items.is_dir():
        raise RefusedInput(
            f"{items} is damaged (it is no folder), so the run's finished work is gone; begin "
            "another run with another --run-dir"
        )
    for name in (*START, *RESULTS):
        is_present(path / name)
    for name in FOLDERS:
        is_present(path / name / "any file")


def is_finished(path: Path) -> bool:
    """Tell whether the run in a folder is over and none of its files has gone since.

    Raises:
        RefusedInput: when status.json is damaged.
    """
    file = path / "status.json"
    if not is_present(file):
        return False
    status: dict[str, Any] = read_json(file, dict)
    state, names = status.get("state"), status.get("files", [])
    if state not in STATES:
        raise damaged_file(file, f"its state is {state!r}")
    if not are_names(names):
        raise damaged_file(file, "its files are no list of names")
    gone = [name for name in names if not is_present(path / name)]
    if gone:
        log.info("%s is gone, %d of the files of a finished run in all", gone[0], len(gone))
    return state == "finished" and not gone


def files_of(path: Path) -> list[str]:
    """Return the names of the files that a finished run leaves, of those that are there.

    What else the user keeps there, such as notes or the folder of another run, is none of them.
    """
    ours = [entry for entry in path.iterdir() if is_named_as_ours(entry.name)]
    files = (file for entry in ours for file in (entry, *entry.rglob("*")) if file.is_file())
    names = (file.relative_to(path) for file in files)
    return sorted(str(name) for name in names if str(name) != "status.json" and name.name[0] != ".")


def tidy(path: Path) -> None:
    """Remove what a killed process left half-written of files of ours."""
    for name in (*START, *RESULTS, "*.safetensors"):
        for half in path.glob(f".{name}.*{SUFFIX}"):
            half.unlink(missing_ok=True)
    for name in FOLDERS:
        for kind in KINDS:
            sweep(path / name, f"*{kind}")
