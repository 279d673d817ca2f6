"""The command `report`: the report of a run made anew, or a page that compares several runs."""

import logging
from pathlib import Path

from trainers.run.cli.command import resume_command
from trainers.run.cli.jobs.report import ReportConfig
from trainers.run.folder.atomic import read_json, write_text
from trainers.run.folder.claim import REPORT, check_place, claim, is_run_folder
from trainers.run.folder.record import RunRecord, damage_told, read_record
from trainers.run.folder.state import state_of
from trainers.run.show.report import render_comparison, write_report

log = logging.getLogger(__name__)
OUT = "comparison.html"


def run_report(config: ReportConfig) -> None:
    """Make the report of one run anew, or a page that compares several.

    Raises:
        ValueError: for a folder that is no finished run, a run at work, or a file that is not ours.
        RefusedInput: when what the page is made of is damaged.
    """
    flags = config.report
    paths = list(dict.fromkeys(Path(name) for name in flags.runs))
    if not paths:
        raise ValueError("report names no run; give the folder of one, or of several to compare")
    for path in paths:
        check_finished(path)
    if len(paths) > 1:
        log.info("comparison: %s", compare_runs(paths, Path(flags.out or OUT)))
        return
    if flags.out is not None:
        raise ValueError(
            f"--out is {flags.out}, and one run is named, whose report is in its own folder; leave "
            "--out away, or name a second run"
        )
    log.info("report: %s", rebuild(paths[0]))


def check_finished(path: Path) -> None:
    """Refuse what is no finished run.

    Raises:
        ValueError: naming the folder.
    """
    if not is_run_folder(path):
        raise ValueError(f"{path} is no run folder; give that of a finished run, such as runs/NAME")
    status = path / "status.json"
    state = state_of(read_json(status, dict)) if status.is_file() else ""
    if state == "running":
        raise ValueError(f"the run in {path} is at work; wait until it is finished")
    if state != "finished":
        raise ValueError(
            f"the run in {path} is not finished (its state is {state or 'not known'}); go on with "
            f"it first: {resume_command(path)}"
        )


def rebuild(path: Path) -> Path:
    """Write report.html of a finished run from what its folder holds; return the file.

    Raises:
        ValueError: when another process works there, or report.html is not ours.
    """
    with claim(path).lock:
        check_place(path, fresh=False)
        with damage_told(path / "summary.json"):
            return write_report(path)


def compare_runs(paths: list[Path], out: Path) -> Path:
    """Write a page that compares runs; return the file.

    Raises:
        ValueError: when there is something at its place that is no page of ours.
    """
    check_free(out)
    records: list[RunRecord] = [read_record(path) for path in paths]
    with damage_told(Path("the summary.json of one of them")):
        page = render_comparison(records)
    write_text(out, page, errors="backslashreplace")
    return out


def check_free(out: Path) -> None:
    """Refuse a place for a page where there is something else than a page of ours.

    Raises:
        ValueError: naming it.
    """
    inside = next((folder for folder in out.resolve().parents if is_run_folder(folder)), None)
    if inside is not None:
        raise ValueError(f"--out is {out}, in the folder of the run {inside}; give a place outside")
    if not out.parent.is_dir():
        raise ValueError(f"--out is {out}, and there is no folder {out.parent}; make it first")
    if out.is_symlink() or (out.exists() and not out.is_file()):
        raise ValueError(f"--out is {out}, which is there and is no file; give another --out")
    if out.is_file() and not out.read_bytes().startswith(REPORT.encode()):
        raise ValueError(f"{out} is there, and is no page of ours; give another --out")
