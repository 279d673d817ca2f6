"""The bank's reviews: an append-only file of who found which samples still of their class."""

import fcntl
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from attacks.errors import RefusedInput
from attacks.files import sync_folder
from augment.bank.samples import STATUSES, Status

REVIEWS = "reviews.jsonl"


@dataclass(frozen=True)
class Review:
    """One decision on some samples.

    Attributes:
        hashes: Content hashes of the samples, as `Entry.hash`; other samples of the same bytes
            have the same status.
        status: The decision; "pending" takes this reviewer's own one back.
        reviewer: Who decided.
        automatic: Whether that is a program; what a person decides stands above it.
        seen: Class that a person named before the label was shown.
        control: Of an original that was shown as a control, its correct label; such a review
            gives no sample a status.
        time: ISO 8601; filled in as a person's review is written, programs leave it empty, so
            that what they write can be written again.
    """

    hashes: tuple[str, ...]
    status: Status
    reviewer: str
    automatic: bool = False
    seen: int | None = None
    control: int | None = None
    time: str = ""


def append_reviews(folder: Path, reviews: Iterable[Review]) -> None:
    """Add reviews to a bank's file, down to the disk, beside other writers.

    Raises:
        OSError: The disk is full or the folder cannot be written; a line torn so is ignored.
    """
    lines = b"".join(_format(review) for review in reviews)
    with open(folder / REVIEWS, "a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        *whole, last = file.read().split(b"\n")
        if is_torn(last):  # it would spoil the one after it
            file.truncate(sum(len(line) + 1 for line in whole))
        else:  # an editor left its end out
            file.write(b"\n")
        file.write(lines)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(folder)


def _format(review: Review) -> bytes:
    """Return the line of a review, with the time where it is a person's and has none."""
    if not review.automatic and not review.time:
        review = replace(review, time=time.strftime("%Y-%m-%dT%H:%M:%S%z"))
    # What has its default is left out: banks hold thousands of lines.
    values = {
        each.name: value
        for each in fields(review)
        if (value := getattr(review, each.name)) != each.default
    }
    return json.dumps(values).encode() + b"\n"


def read_reviews(folder: Path) -> list[Review]:
    """Read all reviews of a bank, in order; a torn last line is none.

    Raises:
        RefusedInput: A whole line cannot be read.
    """
    path = folder / REVIEWS
    if not path.exists():
        return []
    try:
        *lines, last = path.read_bytes().split(b"\n")
    except OSError as error:
        raise RefusedInput(
            f"{path}: {error.strerror}; delete this file and review its samples again"
        ) from error
    return list(parse_reviews(path, lines if is_torn(last) else [*lines, last]))


def is_torn(line: bytes) -> bool:
    """Tell whether a last line, without its end, is none: empty, or half-written by a kill."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return True
    return False


def statuses(reviews: Iterable[Review]) -> dict[str, Status]:
    """Return the status of each reviewed sample by its hash; one that is not there is pending.

    Of a reviewer the latest decision counts, of programs the latest of all. Persons who disagree
    leave a sample unsure.

    >>> said = [Review(("a", "b"), "accepted", "rounds", automatic=True)]
    >>> statuses([*said, Review(("a",), "rejected", "Ann")])
    {'a': 'rejected', 'b': 'accepted'}
    """
    people: dict[str, dict[str, Status]] = {}
    programs: dict[str, dict[str, Status]] = {}
    for review in reviews:
        if review.control is not None:
            continue
        for key in review.hashes:
            given = (programs if review.automatic else people).setdefault(key, {})
            given.pop(review.reviewer, None)  # that the latest comes last
            if review.status != "pending":
                given[review.reviewer] = review.status
    latest = {key: list(given.values())[-1] for key, given in programs.items() if given}
    agreed = {key: _agreed(given.values()) for key, given in people.items() if given}
    return latest | agreed


def _agreed(given: Iterable[Status]) -> Status:
    """Return what all persons said of a sample, or unsure."""
    said = set(given)
    return said.pop() if len(said) == 1 else "unsure"


def parse_reviews(path: Path, lines: Sequence[bytes]) -> Iterator[Review]:
    """Yield the reviews in lines of a file, then refuse the lines that are none.

    Raises:
        RefusedInput: A line cannot be read.
    """
    bad: dict[int, Exception] = {}
    for place, text in enumerate(lines, start=1):
        try:
            found = _parse(json.loads(text))
        except (KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
            bad[place] = error
        else:
            yield found
    if bad:
        named = f"line{'s' * (len(bad) > 1)} {', '.join(map(str, bad))}"
        raise RefusedInput(
            f"{path}: {named} cannot be read ({next(iter(bad.values()))}); delete "
            f"{'these lines' if len(bad) > 1 else 'that line'} and review its samples again"
        )


def _parse(line: Mapping[str, Any]) -> Review:
    """Read one line.

    Raises:
        KeyError: It lacks a field.
        TypeError: It has another one, or is no object.
        ValueError: A field has a wrong value.
    """
    review = Review(**line)
    if not isinstance(review.hashes, list):
        raise TypeError("hashes is no list")
    return replace(
        review,
        hashes=tuple(map(_text, review.hashes)),
        status=_status(review.status),
        reviewer=_text(review.reviewer),
        automatic=review.automatic is True,
        seen=_number(review.seen),
        control=_number(review.control),
        time=_text(review.time),
    )


def _status(value: object) -> Status:
    for status in STATUSES:
        if value == status:
            return status
    raise ValueError(f"status is {str(value)[:20]!r}; allowed: {', '.join(STATUSES)}")


def _number(value: object) -> int | None:
    if value is None or type(value) is int:
        return value
    raise TypeError(f"{value!r} is no number of a class")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
