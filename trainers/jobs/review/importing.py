"""Decisions that were made elsewhere, in a gallery or on a copy of the run, into the bank."""

from collections import Counter
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from attacks import RefusedInput
from augment.bank.reviews import Review, parse_reviews
from trainers.jobs.review.decisions import Decisions, check_name
from trainers.jobs.review.queue import ReviewQueue


def import_decisions(file: Path, queue: ReviewQueue) -> Counter[str]:
    """Append to a bank's reviews the decisions of a file that are not there yet.

    Args:
        file: one line of JSON a decision, as a gallery saves them and as `reviews.jsonl` has them;
            what programs decided is left out.
        queue: the samples that may be decided on.

    Returns:
        How many decisions were "taken", "known" already, "older" than what their reviewer has
        decided since, or "unknown": of samples that are not in the bank.

    Raises:
        RefusedInput: when the file, or a line of it, cannot be read; nothing was taken then.
    """
    reviews = _read(file)
    decisions = Decisions(queue.bank)
    single = (replace(review, hashes=(id,)) for review in reviews for id in review.hashes)
    return Counter(_take(review, queue, decisions) for review in single)


def _take(review: Review, queue: ReviewQueue, decisions: Decisions) -> str:
    """Record a decision on one item where it is new; return the heading to count it under."""
    (id,) = review.hashes
    if id not in queue.items:
        return "unknown"
    item, present = queue.items[id], decisions.latest.get((review.reviewer, id))
    if present and present.time and review.time and _when(review) < _when(present):
        return "older"
    control = item.label if item.control else None
    return "taken" if decisions.record(replace(review, control=control)) else "known"


def _read(file: Path) -> list[Review]:
    """Read a file of decisions and check every line."""
    try:
        lines = file.read_bytes().split(b"\n")
        found = parse_reviews(file, [line for line in lines if line.strip()])
        reviews = [
            replace(review, reviewer=check_name(review.reviewer))
            for review in found
            if not review.automatic
        ]
        for review in reviews:
            if review.time:
                _when(review)
    except OSError as error:
        raise RefusedInput(
            f"--import-decisions {file} cannot be read ({error.strerror}); give a file that a "
            "gallery saved"
        ) from error
    except (OverflowError, ValueError) as error:
        raise RefusedInput(
            f"--import-decisions {file} is refused ({error}); give a file that a gallery saved"
        ) from error
    return reviews


def _when(review: Review) -> datetime:
    return datetime.fromisoformat(review.time).astimezone()
