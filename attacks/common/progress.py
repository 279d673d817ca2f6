"""How far work is whose parts count steps of their own."""

from collections.abc import Sequence

from attacks.attack import Progress

PERCENT = 100  # the size of a part where all count alike


class PartProgress:
    """Turns the progress of parts, one after the other, into that of the whole; it never falls.

    >>> told: list[tuple[int, int]] = []
    >>> parts = PartProgress(lambda *at: told.append(at), [100, 300])
    >>> parts.within(1, 2), parts.end_part(), parts.within(2, 3)
    (None, None, None)
    >>> told
    [(50, 400), (100, 400), (300, 400)]
    """

    def __init__(self, progress: Progress | None, sizes: Sequence[int]) -> None:
        """Begin the first part.

        Args:
            progress: of the whole; None tells nobody.
            sizes: how many steps of the whole each part stands for.
        """
        self.progress, self.sizes, self.total = progress, list(sizes), sum(sizes)
        self.ended = self.latest = 0  # steps of the parts that are over; told last

    def within(self, done: int, steps: int) -> None:
        """Tell how far the present part is, in steps of its own."""
        self._tell(self.ended + self.sizes[0] * done // steps)

    def end_part(self) -> None:
        """Tell that the present part has ended, perhaps before its last step."""
        self.ended += self.sizes.pop(0)
        self._tell(self.ended)

    def _tell(self, done: int) -> None:
        if self.progress and done > self.latest:
            self.latest = done
            self.progress(done, self.total)
