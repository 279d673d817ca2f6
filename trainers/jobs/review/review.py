"""The command `review`: serve the page, write a gallery, or take decisions from a file."""

import logging
import webbrowser
from contextlib import suppress
from pathlib import Path
from threading import Thread

from augment import SampleBank
from trainers.jobs.review.decisions import Decisions, check_name
from trainers.jobs.review.gallery import check_replaceable, write_gallery
from trainers.jobs.review.importing import import_decisions
from trainers.jobs.review.originals import load_originals
from trainers.jobs.review.queue import ReviewQueue, build_queue
from trainers.jobs.review.server import ReviewServer
from trainers.jobs.review.service import ReviewService
from trainers.run.cli.jobs.review import ReviewConfig, ReviewFlags
from trainers.run.errors import STOPPED
from trainers.run.folder.claim import is_run_folder

log = logging.getLogger(__name__)
RUNS = Path("runs")


def run_review(config: ReviewConfig) -> None:
    """Let a person decide which perturbed samples of a run still show their class.

    Raises:
        ValueError: where there is no run with samples to review, the port is taken, or options
            exclude each other.
        RefusedInput: for a damaged bank, or a damaged file of decisions.
    """
    flags = config.review
    if flags.export and flags.import_decisions:
        raise ValueError(
            f"--export {flags.export} and --import-decisions {flags.import_decisions} are two "
            "tasks; give one of them"
        )
    if flags.export:
        check_replaceable(Path(flags.export))
    reviewer = check_name(flags.reviewer) if flags.reviewer else ""
    run = find_run(flags.run_dir)
    originals = load_originals(run)

    def open_queue() -> ReviewQueue:
        bank = SampleBank(run / "bank")
        return build_queue(bank, originals, controls=flags.controls, seed=flags.seed)

    if flags.export:
        write_gallery(Path(flags.export), open_queue(), run.name)
    elif flags.import_decisions:
        file = Path(flags.import_decisions)
        counts = import_decisions(file, open_queue())
        log.info(
            "decisions of %s: %d taken, %d known already, %d older than what their reviewer "
            "decided since, %d of samples that are not in the bank",
            file, *(counts[name] for name in ("taken", "known", "older", "unknown")),
        )  # fmt: skip
    else:
        serve(ReviewService(run.resolve().name, reviewer, open_queue), flags)


def serve(service: ReviewService, flags: ReviewFlags) -> None:
    """Serve the page until the program is stopped, then say what was decided.

    Raises:
        ValueError: when the port is taken.
    """
    with suppress(*STOPPED), ReviewServer(service, flags.port) as server:
        log.info("%s", describe_queue(service.queue))
        log.info("review them at %s", server.address)
        log.info("Ctrl-C stops; every decision is saved as it is made")
        if flags.open:  # which some browsers do not return from before they are closed
            Thread(target=webbrowser.open, args=(server.address,), daemon=True).start()
        server.serve_forever()
    names = service.reviewers()
    if not names:
        log.info("nobody has decided on a sample yet")
    for name in names:
        rates = "; ".join(f"{term}: {text}" for term, text in service.rates(name).items())
        log.info("%s: %s", name, rates)


def describe_queue(queue: ReviewQueue) -> str:
    """Return in words how much there is to review."""
    samples = [item.id for item in queue.items.values() if not item.control]
    decided = Decisions(queue.bank).decided_by_others("")
    left = sum(id not in decided for id in samples)
    controls = len(queue.items) - len(samples)
    return f"{left} of {len(samples)} samples to review, and {controls} controls among them"


def find_run(given: str | None) -> Path:
    """Return the folder of the run to review.

    Args:
        given: its path; None for the newest of runs/ that has a bank.

    Raises:
        ValueError: when there is none, or it has no samples to review.
    """
    if given is None:
        banks = [bank for bank in RUNS.glob("*/bank") if is_run_folder(bank.parent)]
        if not banks:
            raise ValueError(
                f"no run in {RUNS}/ has samples to review; start `rounds`, or give --run-dir DIR"
            )
        given = str(max(banks, key=lambda bank: bank.stat().st_mtime).parent)
    run = Path(given)
    if not is_run_folder(run):
        what = "no run folder" if run.exists() else "not there"
        raise ValueError(f"--run-dir {run} is {what}; give the folder of a run of `rounds`")
    if not len(SampleBank(run / "bank")):
        raise ValueError(
            f"--run-dir {run} has no perturbed samples: it is of another job than `rounds`, or has "
            "not attacked yet; give the folder of another run, or wait"
        )
    return run
