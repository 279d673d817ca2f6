"""Decisions that were made elsewhere, in a gallery or on a copy of the run, into the bank."""

from collections import Counter
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from attacks import RefusedInput
from augment.bank.reviews import Review, append_reviews, parse_reviews
from trainers.jobs.review.decisions import UNTOLD, Decisions, check_name
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
        OSError: when the disk is full, say; a second import takes what is missing.
    """
    reviews = _read(file, len(queue.classes) if queue.originals else None)
    decisions = Decisions(queue.bank)
    known = Counter(
        each for review in queue.bank.reviews if review.time for each in _single(review)
    )
    counts: Counter[str] = Counter()
    taken: list[Review] = []
    for said in (single for review in reviews for single in _single(review)):
        (id,) = said.hashes
        item = queue.items.get(id)
        control = item.label if item and item.control else None
        review = replace(said, control=control)
        heading = _heading(review, decisions, known) if item else "unknown"
        counts[heading] += 1
        if heading == "taken":
            decisions.keep(review)
            taken.append(review)
    if taken:
        append_reviews(queue.bank.folder, taken)
    return counts


def _single(review: Review) -> list[Review]:
    """Return the review of each sample by itself."""
    return [replace(review, hashes=(id,)) for id in review.hashes]


def _heading(review: Review, decisions: Decisions, known: Counter[Review]) -> str:
    """Return under what a decision on an item of the queue is counted.

    Args:
        review: the decision.
        decisions: the present ones.
        known: how often the bank has each line, less those that were met in the file.
    """
    if known[review]:
        known[review] -= 1
        return "known"
    (id,) = review.hashes
    present = decisions.latest.get((review.reviewer, id))
    later = False
    if present and present.time and review.time:
        if _when(review) < _when(present):
            return "older"
        later = _when(review) > _when(present)  # the same once more, which older ones yield to
    return "taken" if later or decisions.is_news(review) else "known"


def _read(file: Path, classes: int | None) -> list[Review]:
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
            if classes and review.seen is not None and not UNTOLD <= review.seen < classes:
                raise ValueError(f"class {review.seen} was seen, and there are {classes}")
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
