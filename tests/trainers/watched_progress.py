"""What the bars of a run are told, whether or not they are drawn."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from trainers.run.show.progress import Progress

Told = dict[str, list[float]]  # by stage in order: how far its items were said to be


@contextmanager
def watched_progress() -> Iterator[Told]:
    """Note, while the body runs, each stage and what is told within its items."""
    told: Told = {}
    enter, within = Progress.__enter__, Progress.within

    def begin(bar: Progress) -> Progress:
        told.setdefault(bar.stage, [])
        return enter(bar)

    def note(bar: Progress, done: int, steps: int) -> None:
        told[bar.stage].append(done / steps)
        within(bar, done, steps)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Progress, "__enter__", begin)
        patch.setattr(Progress, "within", note)
        yield told


def moves(shares: list[float]) -> bool:
    """Tell whether an item was said to be under way, and to end."""
    return any(0 < share < 1 for share in shares) and max(shares) == 1
