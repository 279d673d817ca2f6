"""Decisions of persons on samples: what holds now, and what they came to."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from augment import SampleBank
from augment.bank.reviews import Review, append_reviews
from augment.bank.samples import Status
from trainers.intervals import wilson
from trainers.jobs.review.queue import ReviewItem

LONGEST_NAME = 80  # characters of a reviewer's name
UNTOLD = -1  # the class that a person names who cannot tell it
DECIDED: tuple[Status, ...] = ("accepted", "rejected", "unsure")


class Decisions:
    """The present decision of each person on each item, as when the bank was opened and since.

    Attributes:
        folder: of the bank.
        latest: the last review of each reviewer and id, in the order in which they were made; one
            that took a decision back is among them.
    """

    def __init__(self, bank: SampleBank) -> None:
        """Look through the reviews of a bank."""
        self.folder = bank.folder
        self.latest: dict[tuple[str, str], Review] = {}
        for review in bank.reviews:
            self.keep(review)

    def keep(self, review: Review) -> None:
        """Take a review that is in the file, or soon will be."""
        if not review.automatic:
            for id in review.hashes:
                self.latest.pop((review.reviewer, id), None)  # so that the order is that of time
                self.latest[review.reviewer, id] = review

    def is_news(self, review: Review) -> bool:
        """Tell whether a decision on one item differs from the reviewer's present one."""
        (id,) = review.hashes
        present = self.latest.get((review.reviewer, id))
        if present is None:
            return review.status != "pending"
        return (present.status, present.seen) != (review.status, review.seen)

    def record(self, review: Review) -> bool:
        """Append a decision on one item where it is news; tell whether it was.

        Raises:
            OSError: when the disk is full, say.
        """
        if not self.is_news(review):
            return False
        append_reviews(self.folder, [review])
        self.keep(review)
        return True

    def of(self, reviewer: str) -> dict[str, Review]:
        """Return the last review of each item by a person, by id, in the order of time."""
        return {id: review for (name, id), review in self.latest.items() if name == reviewer}

    def decided_by_others(self, reviewer: str) -> set[str]:
        """Return the ids on which persons of other names have decided."""
        return {
            id
            for (name, id), review in self.latest.items()
            if name != reviewer and review.status != "pending"
        }


@dataclass(frozen=True)
class ReviewerRates:
    """What a person decided on perturbed samples, and named right before seeing the label.

    Attributes:
        decisions: how many of each status, controls apart.
        named: of how many perturbed samples a class was named, or that it cannot be told.
        named_right: how many of these were named by their label.
        controls: how many originals were shown as controls.
        controls_right: how many of these were named by their label.
    """

    decisions: Mapping[Status, int]
    named: int
    named_right: int
    controls: int
    controls_right: int

    def describe(self) -> dict[str, str]:
        """Return the figures in words, with the 95 % intervals of the rates."""
        by_status = ", ".join(f"{self.decisions[status]} {status}" for status in DECIDED)
        return {
            "perturbed samples decided": f"{sum(self.decisions.values())} ({by_status})",
            "of them named by their label": describe_rate(self.named_right, self.named),
            "controls named by their label": describe_rate(self.controls_right, self.controls),
        }


def rate_reviewer(reviews: Mapping[str, Review], items: Mapping[str, ReviewItem]) -> ReviewerRates:
    """Count what a person decided and named.

    Args:
        reviews: the person's last review of each item, by id.
        items: what is reviewed, by id.
    """
    held = {id: review for id, review in reviews.items() if review.status != "pending"}
    samples = {id: held[id] for id in held if id in items and held[id].control is None}
    named = [(items[id].label, r.seen) for id, r in samples.items() if r.seen is not None]
    controls = [review for review in held.values() if review.control is not None]
    return ReviewerRates(
        decisions=Counter(review.status for review in samples.values()),
        named=len(named),
        named_right=sum(label == seen for label, seen in named),
        controls=len(controls),
        controls_right=sum(review.seen == review.control for review in controls),
    )


def describe_rate(successes: int, n: int) -> str:
    """Return a rate, what was counted, and its 95 % interval.

    >>> describe_rate(8, 10), describe_rate(0, 0)
    ('80.0 % (8 of 10; 49 % to 94 %)', 'none')
    """
    if not n:
        return "none"
    low, high = wilson(successes, n)
    return f"{successes / n:.1%} ({successes} of {n}; {low:.0%} to {high:.0%})".replace("%", " %")


def check_name(name: str) -> str:
    """Return a reviewer's name without spaces around it.

    Raises:
        ValueError: for an empty or a long one, or one with characters that do not print.
    """
    name = name.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise ValueError(
            f"the reviewer's name is {name[:LONGEST_NAME]!a}; allowed: 1 to {LONGEST_NAME} "
            "characters that print"
        )
    return name
