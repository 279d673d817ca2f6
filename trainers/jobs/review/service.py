"""The answers of the review page's server, without HTTP: the queue, pictures, decisions."""

from collections.abc import Callable
from threading import Lock
from typing import Any

from augment.bank.reviews import Review
from trainers.jobs.review.decisions import DECIDED, UNTOLD, Decisions, check_name, rate_reviewer
from trainers.jobs.review.pictures import columns, difference, encode_sprite
from trainers.jobs.review.queue import ReviewItem, ReviewQueue


class UnknownItem(LookupError):
    """There is no item of such an id, or nothing of it to show."""


class ReviewService:
    """The queue of a bank and the decisions on it, for several threads.

    Attributes:
        run: name of the run, for the page.
        reviewer: the person's name where the command line gave it, else "".
        queue: what is reviewed; opened again with each page, since a run may add to it.
        decisions: of all persons.
    """

    def __init__(self, run: str, reviewer: str, open_queue: Callable[[], ReviewQueue]) -> None:
        """Open the queue.

        Raises:
            RefusedInput: where the bank or its decisions are damaged.
        """
        self.run, self.reviewer = run, reviewer
        self._open, self._lock = open_queue, Lock()
        self._refresh()

    def _refresh(self) -> None:
        self.queue = self._open()
        self.decisions = Decisions(self.queue.bank)

    def list_items(self, reviewer: str) -> dict[str, Any]:
        """Return what the page has to know of all items, compactly, but not which are controls."""
        with self._lock:
            self._refresh()
            queue, mine = self.queue, self.decisions.of(reviewer)
            others = self.decisions.decided_by_others(reviewer)
        attacks = sorted({item.attack for item in queue.items.values()})
        rows = []
        for id, item in queue.items.items():
            review = mine.get(id)
            status = review.status if review else "pending"
            seen = review.seen if review else None
            rows.append([id, attacks.index(item.attack), item.round, status, seen, id in others])
        _, *frames, height, width = queue.bank.shape or (1, 1, 1)
        count = frames[0] if frames else 1
        return {
            "items": rows,
            "attacks": attacks,
            "classes": queue.classes,
            "originals": queue.originals is not None,
            "frames": count,
            "columns": columns(count),
            "height": height,
            "width": width,
            "history": [
                id for id, r in mine.items() if r.status != "pending" and id in queue.items
            ],
        }

    def reveal(self, id: str) -> dict[str, Any]:
        """Return what is hidden until a class was named.

        Raises:
            UnknownItem: for an id that is none.
        """
        queue, item = self._find(id)
        answer: dict[str, Any] = {
            "label": item.label,
            "control": item.control,
            "source": item.source,
            "factor": None,
        }
        if item.control:
            return answer
        with self._lock:
            x, original = queue.pixels(item), queue.original(item)
        if original is not None:
            answer["factor"] = difference(x, original)[1]
        entry = queue.bank.entries()[item.row]
        made = {"attack": item.attack, "round": item.round}
        return answer | made | {"linf": entry.linf, "l2": entry.l2}

    def picture(self, id: str, kind: str) -> bytes:
        """Return a PNG: of kind "sample", "original" or "difference".

        Raises:
            UnknownItem: for an id that is none, or what there is no picture of.
            RefusedInput: where the bank's pixels are damaged.
        """
        queue, item = self._find(id)
        with self._lock:  # readers of files may not stand several threads
            x = queue.pixels(item)
            original = None if kind == "sample" else queue.original(item)
        if kind == "sample":
            return encode_sprite(x)
        if original is None or kind not in ("original", "difference"):
            raise UnknownItem(id)
        return encode_sprite(original if kind == "original" else difference(x, original)[0])

    def decide(self, request: object) -> dict[str, Any]:
        """Record a decision; the same once more changes nothing.

        Args:
            request: an object with the id, the status ("pending" takes a decision back), the
                reviewer, and the class that was named, -1 for none, or null where none was asked.

        Returns:
            Whether a line was written.

        Raises:
            UnknownItem: for an id that is none.
            ValueError: for a request of another form.
        """
        match request:
            case {"id": str(id), "status": str(status), "reviewer": str(name), "seen": seen}:
                queue, item = self._find(id)
            case _:
                raise ValueError("give id, status, reviewer and seen")
        if status not in ("pending", *DECIDED):
            raise ValueError(f"status is {status[:20]!a}; allowed: pending, {', '.join(DECIDED)}")
        if not (seen is None or (type(seen) is int and UNTOLD <= seen < len(queue.classes))):
            raise ValueError("seen is no number of a class, -1 or null")
        review = Review(
            hashes=(id,),
            status=status,
            reviewer=check_name(name),
            seen=seen,
            control=item.label if item.control else None,
        )
        with self._lock:
            return {"written": self.decisions.record(review)}

    def rates(self, reviewer: str) -> dict[str, str]:
        """Return in words what a person decided and named."""
        with self._lock:
            return rate_reviewer(self.decisions.of(reviewer), self.queue.items).describe()

    def reviewers(self) -> list[str]:
        """Return the names of all who decided, sorted."""
        with self._lock:
            return sorted({name for name, _ in self.decisions.latest})

    def _find(self, id: str) -> tuple[ReviewQueue, ReviewItem]:
        """Return an item and the queue that it is of: in a later one its row may be another."""
        queue = self.queue
        if id not in queue.items:
            raise UnknownItem(id)
        return queue, queue.items[id]
